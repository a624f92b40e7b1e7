"""Tensors that are cut over processes by their rows, seen from one of them: which rows it has, how it takes its part of a whole
one. Rows are cut as torch.chunk cuts them - the last processes may have fewer, or none - which is what FSDP2 and DTensor do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard


def rows_of(rank: int, ranks: int, length: int) -> slice:
    """The rows of a process among `ranks`."""
    each = -(-length // ranks)
    start = min(rank * each, length)
    return slice(start, min(start + each, length))


def my_rows(tensor: DTensor) -> slice:
    """The rows of the whole tensor that this process holds."""
    rows = slice(0, tensor.shape[0])
    for axis, placement in enumerate(tensor.placements):
        if isinstance(placement, Replicate):
            continue
        assert placement == Shard(0), f"{placement}: only rows are cut"
        rows = rows_of(tensor.device_mesh.get_local_rank(axis), tensor.device_mesh.size(axis), tensor.shape[0])
    return rows


def local(tensor: Tensor) -> Tensor:
    """This process's part; a plain tensor is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def fill(tensor: Tensor, whole: Any) -> None:
    """Copy this process's part of `whole` into `tensor`. `whole` is a tensor, or anything whose rows can be sliced to one."""
    if isinstance(tensor, DTensor):
        tensor.to_local().copy_(whole[my_rows(tensor)])
    else:
        tensor.copy_(whole[:])
