"""What the collectives of a step move, seen from one rank: counted by kind under a dispatch mode.

`bytes` is what a collective is about: the whole that is gathered, reduced or exchanged. `sent_bytes` is what this rank sends of
it in a ring of n, as `tuitrain_planners.communication` counts:

    all_gather, reduce_scatter      (n - 1) / n of the bytes
    all_reduce                      twice that: a reduce-scatter and an all-gather
    all_to_all                      what is not for this rank itself
    broadcast                       all of them
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.utils._python_dispatch import TorchDispatchMode

_C10D: Final = torch.ops.c10d
_KINDS: Final = {
    # kind, and which argument is the whole of what is moved
    _C10D._allgather_base_.default: ("all_gather", 0),
    _C10D.allgather_.default: ("all_gather", 0),
    _C10D._reduce_scatter_base_.default: ("reduce_scatter", 1),
    _C10D.reduce_scatter_.default: ("reduce_scatter", 1),
    _C10D.allreduce_.default: ("all_reduce", 0),
    _C10D.alltoall_base_.default: ("all_to_all", 1),
    _C10D.broadcast_.default: ("broadcast", 0),
}
_FACTORS: Final = {"all_reduce": 2}


@dataclass(slots=True)
class Moved:
    """One kind of collective in a step."""

    count: int = 0
    bytes: int = 0
    sent_bytes: float = 0


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every collective torch dispatches while entered; DDP's sums, which it makes behind the dispatcher, are told."""

    def __init__(self, ranks: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ranks = ranks
        self._moved: dict[str, Moved] = defaultdict(Moved)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (found := _KINDS.get(function)) is not None:
            kind, place = found
            group = next(each for each in args if isinstance(each, torch.ScriptObject) and "ProcessGroup" in str(each._type()))
            ranks, size = ProcessGroup.unbox(group).size(), _bytes_of(args[place])
            self._count(kind, size, _sent(kind, size, ranks) if kind != "all_to_all" else _to_others(args[1], args[4]))
        return function(*args, **(kwargs or {}))

    def summed(self, bucket: Tensor) -> None:
        """A bucket of gradients, over all ranks."""
        self._count("all_reduce", bucket.nbytes, _sent("all_reduce", bucket.nbytes, self._ranks))

    def forget(self) -> None:
        """Count from nothing again."""
        self._moved.clear()

    def report(self) -> list[dict[str, Any]]:
        """[{"kind", "count", "bytes", "sent_bytes"}, ...] by kind."""
        return [
            {"kind": kind, "count": each.count, "bytes": each.bytes, "sent_bytes": each.sent_bytes}
            for kind, each in sorted(self._moved.items())
        ]

    def _count(self, kind: str, size: int, sent: float) -> None:
        moved = self._moved[kind]
        moved.count += 1
        moved.bytes += size
        moved.sent_bytes += sent


def _sent(kind: str, size: int, ranks: int) -> float:
    return size if kind == "broadcast" else _FACTORS.get(kind, 1) * size * (ranks - 1) / ranks


def _to_others(sent: Tensor, splits: list[int]) -> int:
    """Of an exchange, seen from rank 0."""
    return sent.nbytes - splits[0] * sent.element_size()


def _bytes_of(tensors: Any) -> int:
    if isinstance(tensors, Tensor):
        return tensors.nbytes
    return sum(map(_bytes_of, tensors))
