"""What processes do together beside training: bring tensors to the main process, agree whether something went well.

Over a group of its own in host memory (gloo), so that a thread may use it while training's collectives go on: a thread that
saved over the group that trains was seen to end the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from tuitrain.model.shards import rows_of
from tuitrain.model.stream import Piece

TIMEOUT: Final = timedelta(hours=2)
"""Longer than writing any checkpoint takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """The processes of a run. One process has no group and needs none."""

    rank: int = 0
    group: Any = None

    @classmethod
    def open(cls, rank: int, size: int) -> Side:
        """Collective: every process opens one."""
        return cls(rank=rank, group=dist.new_group(backend="gloo", timeout=TIMEOUT) if size > 1 else None)

    @property
    def is_main(self) -> bool:
        """Whether this process writes what only one may write."""
        return self.rank == 0

    def agree(self, problem: str | None) -> str | None:
        """The first problem any process has; None when none has one."""
        if self.group is None:
            return problem
        found: list[str | None] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(found, problem, group=self.group)
        return next((f"rank {rank}: {each}" if rank else each for rank, each in enumerate(found) if each), None)

    def to_main(self, piece: Piece) -> Tensor | None:
        """The whole tensor in host memory on the main process, None on the others."""
        if not piece.gives(self.rank):
            return None
        part = piece.part.cpu()
        if piece.ranks == 1:
            return part
        if not self.is_main:
            if part.numel():
                dist.send(part.contiguous(), dst=0, group=self.group)
            return None
        whole = part.new_empty(piece.shape)
        whole[rows_of(0, piece.ranks, piece.shape[0])] = part
        for rank in range(1, piece.ranks):
            rows = rows_of(rank, piece.ranks, piece.shape[0])
            if rows.stop > rows.start:
                received = torch.empty_like(whole[rows])
                dist.recv(received, src=rank, group=self.group)
                whole[rows] = received
        return whole


ALONE: Final = Side()
