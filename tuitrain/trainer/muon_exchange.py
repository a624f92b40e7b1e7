"""Rows of many matrices of one shape to whole matrices and back: each process gets every n-th matrix whole.

Two all-to-alls per shape and step, in the dtype orthogonalisation computes in; each process sends (n - 1) / n of what it holds,
twice. Every process orthogonalises 1/n of the matrices, where under data parallelism each does all of them.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from tuitrain.model.shards import my_rows, rows_of


class Exchange:
    """Of `count` matrices cut like `like`."""

    def __init__(self, like: DTensor, count: int) -> None:
        mesh = like.device_mesh
        axis = mesh.ndim - 1  # rows are cut over the last axis; copies of the shards (HSDP) do the same work
        self._group, self._rank, self._ranks = mesh.get_group(axis), mesh.get_local_rank(axis), mesh.size(axis)
        self._length, self._width = like.shape
        rows = my_rows(like)
        self._rows = rows.stop - rows.start
        self._counts = [len(range(rank, count, self._ranks)) for rank in range(self._ranks)]

    def collect(self, parts: list[Tensor]) -> Tensor:
        """This process's rows of all matrices -> its own matrices, whole: [G, M, N]."""
        mine = self._counts[self._rank]
        sent = torch.cat([parts[at].flatten() for rank in range(self._ranks) for at in range(rank, len(parts), self._ranks)])
        heights = [self._height(rank) for rank in range(self._ranks)]
        got = sent.new_empty(mine * self._length * self._width)
        dist.all_to_all_single(
            got, sent, [mine * height * self._width for height in heights],
            [count * self._rows * self._width for count in self._counts], group=self._group,
        )  # fmt: skip
        pieces = torch.split(got, [mine * height * self._width for height in heights])
        return torch.cat([piece.view(mine, height, self._width) for piece, height in zip(pieces, heights, strict=True)], dim=1)

    def give_back(self, whole_GMN: Tensor) -> list[Tensor]:
        """Its own matrices, whole -> this process's rows of all of them, in the order they were collected in."""
        mine = self._counts[self._rank]
        heights = [self._height(rank) for rank in range(self._ranks)]
        sent = torch.cat([piece.reshape(-1) for piece in torch.split(whole_GMN, heights, dim=1)])
        got = sent.new_empty(sum(self._counts) * self._rows * self._width)
        dist.all_to_all_single(
            got, sent, [count * self._rows * self._width for count in self._counts],
            [mine * height * self._width for height in heights], group=self._group,
        )  # fmt: skip
        parts: list[Tensor] = [got] * sum(self._counts)
        pieces = torch.split(got, [count * self._rows * self._width for count in self._counts])
        for rank, (piece, count) in enumerate(zip(pieces, self._counts, strict=True)):
            for number, part in enumerate(piece.view(count, self._rows, self._width).unbind(0)):
                parts[rank + number * self._ranks] = part
        return parts

    def _height(self, rank: int) -> int:
        rows = rows_of(rank, self._ranks, self._length)
        return int(rows.stop - rows.start)
