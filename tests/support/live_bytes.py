"""Peak of live tensor bytes while a function runs, storage by storage: a measure no other process disturbs."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class _Tracker(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.total = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_iter(result):
            if isinstance(each, torch.Tensor):
                self._see(each)
        return result

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.live:
            return
        self.live[key] = size
        self.total += size
        self.peak = max(self.peak, self.total)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        if self.live.pop(key, None) is not None:
            self.total -= size


def peak_live_bytes(function: Callable[[], object]) -> int:
    """Largest sum of bytes of tensors made while `function` ran and alive at the same time."""
    with _Tracker() as tracker:
        function()
    return tracker.peak
