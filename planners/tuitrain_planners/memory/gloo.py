"""What gloo, which connects processes on the CPU, takes beside the tensors it is given. No tracker of tensors sees it, so it
counts as the runtime's; NCCL needs none of it."""

from __future__ import annotations

from typing import Final

from tuitrain_planners.quantity import Quantity, derived

SUM_BYTES: Final = 4
_MEASURED: Final = (
    "measured: torch 2.13, resident memory of 4 processes: of 128 MiB an all-gather takes 130 on top, a reduce-scatter 130, an "
    "all-reduce 2"
)


def summed_copy(entries: int) -> Quantity:
    """A unit's gradients, which are reduce-scattered in a copy of them."""
    name, value = "gradients of a layer, as gloo sums them", entries * SUM_BYTES
    return derived(name, value, "bytes", "n * bytes", _MEASURED, n=entries, bytes=SUM_BYTES)


def gathered_copy(rows: Quantity, ranks: int) -> Quantity:
    """All ranks' new rows of a bucket (`new_rows`: these and one rank's own), which come through a copy too."""
    value = rows.value * ranks / (ranks + 1)
    return derived("new rows, as gloo gathers them", value, "bytes", "rows * n / (n + 1)", _MEASURED, rows=rows, n=ranks)
