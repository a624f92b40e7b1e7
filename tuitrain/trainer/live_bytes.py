"""Which bytes are alive when, and what they are: every tensor storage torch makes, resizes and drops, under a dispatch mode.

Works on fake tensors (no memory behind them) and knows what FSDP2 does to storages. What no dispatch mode can see: scratch
inside kernels, workspaces of the matrix library and of NCCL, the allocator's fragmentation.

Autograd adds a second gradient of a tensor into the first where nobody else can see the first, but never while a dispatch mode
is on: here the sum is done in place for it, where it would be (torch/csrc/autograd/input_buffer.cpp; the resident memory of a
step without this mode agrees).

A storage's category is the last one it was given, so a tensor made in backward that became a gradient counts as a gradient
from its first byte on.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._sharding_prop import ShardingPropagator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_SCALAR: Final = torch.ops.aten._local_scalar_dense.default
_ADD: Final = torch.ops.aten.add.Tensor
_CAST: Final = torch.ops.aten._to_copy.default
_ALL_GATHER: Final = torch.ops.c10d._allgather_base_.default
_REDUCE_SCATTER: Final = torch.ops.c10d._reduce_scatter_base_.default


@dataclass(frozen=True, slots=True)
class Moment:
    """The fullest moment of a phase."""

    bytes: int
    by_category: dict[str, int]
    operator: str
    """What had just run."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Enter inside the fake mode. Somebody outside says, by `enter`, where the step is."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase, self.category = "", "activations"
        self.gradient_shapes: set[torch.Size] = set()
        """Shapes that, made in backward, can only be gradients of weights."""
        self.total = 0
        self._log: list[tuple[int, int, str, str]] = []  # storage, bytes more or less, phase, operator
        self._categories: dict[int, str] = {0: ""}  # 0 is no storage: a phase began
        self._sizes: dict[int, int] = {}
        self._known: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._count = self._muted = 0

    def __enter__(self) -> LiveBytes:
        self._resize, self._propagate = torch.UntypedStorage.resize_, ShardingPropagator._propagate_tensor_meta_non_cached

        def resize(storage: torch.UntypedStorage, size: int) -> None:
            self._resize(storage, size)
            if (number := self._number(storage)) is not None:
                self._resized(number, storage.nbytes(), "resize_")

        def propagate(*args: Any, **kwargs: Any) -> Any:
            # DTensor learns result shapes by running operators on tensors of the global shape: no real step makes them.
            self._muted += 1
            try:
                return self._propagate(*args, **kwargs)
            finally:
                self._muted -= 1

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign,assignment]
        ShardingPropagator._propagate_tensor_meta_non_cached = propagate  # type: ignore[method-assign]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        ShardingPropagator._propagate_tensor_meta_non_cached = self._propagate  # type: ignore[method-assign]
        super().__exit__(*raised)  # type: ignore[no-untyped-call]

    def enter(self, phase: str, category: str) -> None:
        """From now on it is `phase`, and what is made is `category` unless it is known to be something else."""
        self.phase, self.category = phase, category
        self._log.append((0, 0, phase, "what was there"))

    def mark(self, tensors: Iterable[Tensor | None], category: str) -> None:
        """These are `category`, and were from the beginning."""
        for tensor in tensors:
            if tensor is not None:
                self._see(tensor, "", category)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # comes back with the local parts
        if function is _SCALAR:
            # A number Python wants to see: there is none behind a fake tensor. 1 and True: a finite loss, a valid target.
            kind = args[0].dtype
            return 1.0 if kind.is_floating_point else True if kind is torch.bool else 1
        if function is _ADD and self._is_sum_of_gradients(*args):
            function = torch.ops.aten.add_.Tensor
        result = function(*args, **(kwargs or {}))
        if not self._muted:
            self._after(function, args, kwargs or {}, result)
        return result

    def _is_sum_of_gradients(self, first: Any, second: Any) -> bool:
        """Two gradients of one weight, of which the first is nobody's view."""
        if torch._C._current_graph_task_id() == -1 or not (isinstance(first, Tensor) and isinstance(second, Tensor)):
            return False
        return first.shape == second.shape and first.shape in self.gradient_shapes and not first._is_view()

    def _after(self, function: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        name = str(function)
        if function is _ALL_GATHER:
            self.mark([args[0]], "gathered")
        elif function is _REDUCE_SCATTER:
            self.mark(args[:2], "gradients")
        elif name.startswith("fsdp.split_with_sizes_copy"):
            self.mark(kwargs.get("out", ()), "gathered")
        elif function is _CAST and self._category_of(args[0]) == "weights":
            self.mark([result], "weights")
            return
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._see(leaf, name, None)

    def _category_of(self, tensor: Tensor) -> str | None:
        number = self._number(tensor.untyped_storage())
        return None if number is None else self._categories[number]

    def _number(self, storage: torch.UntypedStorage) -> int | None:
        known = self._known.get(storage._cdata)
        return known[0] if known is not None and known[1]() is storage else None

    def _see(self, tensor: Tensor, operator: str, category: str | None) -> None:
        if isinstance(tensor, DTensor):
            tensor = tensor._local_tensor
        storage = tensor.untyped_storage()
        number = self._number(storage)
        if number is None:
            self._count += 1
            number, key = self._count, storage._cdata
            self._known[key] = (number, weakref.ref(storage, lambda _: self._gone(number, key)))
            self._sizes[number] = 0
            weight_like = self.phase.startswith(("loss", "backward")) and tensor.shape in self.gradient_shapes
            self._categories[number] = "gradients" if weight_like else self.category
        if category is not None:
            self._categories[number] = category
        self._resized(number, storage.nbytes(), operator)

    def _resized(self, number: int, size: int, operator: str) -> None:
        if more := size - self._sizes[number]:
            self._sizes[number] = size
            self.total += more
            self._log.append((number, more, self.phase, operator))

    def _gone(self, number: int, key: int) -> None:
        known = self._known.get(key)
        if known is not None and known[0] == number:
            del self._known[key]
        self._resized(number, 0, "freed")

    def forget(self) -> None:
        """Start the record anew with what is alive now."""
        self._log = [(number, size, "", "") for number, size in self._sizes.items() if size]

    def moments(self) -> dict[str, Moment]:
        """The fullest moment of every phase, in the order phases began."""
        tops: dict[str, tuple[int, int]] = {}  # phase: (bytes, place in the log)
        total = 0
        for place, (_, more, phase, _) in enumerate(self._log):
            total += more
            if phase and total > tops.get(phase, (-1, 0))[0]:
                tops[phase] = (total, place)
        wanted = {place: phase for phase, (_, place) in tops.items()}
        found: dict[str, Moment] = {}
        sums: Counter[str] = Counter()
        for place, (number, more, _, operator) in enumerate(self._log):
            sums[self._categories[number]] += more
            if top := wanted.get(place):
                found[top] = Moment(sums.total(), {name: size for name, size in sums.items() if size}, operator)
        return {phase: found[phase] for phase in tops}
