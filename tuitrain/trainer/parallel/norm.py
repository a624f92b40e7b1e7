"""The norm of all gradients, some of them cut over processes. torch's own total norm refuses plain and cut tensors together,
and cut ones of different meshes; squares of the parts add up whatever the mesh."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard


def global_norm(gradients: Sequence[Tensor]) -> float:
    """Euclidean norm over every entry, the same on every process; NaN or infinite when one entry is. 0 without gradients."""
    groups: dict[tuple[DeviceMesh | None, tuple[int, ...]], list[Tensor]] = {}
    for each in gradients:
        if isinstance(each, DTensor):
            axes = tuple(axis for axis, placement in enumerate(each.placements) if isinstance(placement, Shard))
            groups.setdefault((each.device_mesh, axes), []).append(each.to_local())
        else:
            groups.setdefault((None, ()), []).append(each)
    squares = 0.0
    for (mesh, axes), parts in groups.items():
        filled = [part for part in parts if part.numel()]
        norm = torch.nn.utils.get_total_norm(filled).double() if filled else torch.zeros((), dtype=torch.float64)
        square = norm.square()
        if mesh is not None:
            square = square.to(mesh.device_type)
            for axis in axes:
                dist.all_reduce(square, group=mesh.get_group(axis))
        squares += float(square)
    return math.sqrt(squares) if math.isfinite(squares) else squares
