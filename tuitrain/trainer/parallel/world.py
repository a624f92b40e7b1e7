"""The processes of a run: this one's rank and device, and the few things all of them must agree on.

One process needs no process group at all, and has none: every method is then the identity.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from tuitrain.errors import EnvironmentError_
from tuitrain.trainer.parallel.side import ALONE, Side

LEAST_TIMEOUT = timedelta(hours=1)
"""Of a collective: the main process prepares data while the others wait, and a hang is found by whoever watches heartbeats,
who can say more about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Rank, number of processes, device; and collectives over all of them."""

    rank: int
    size: int
    device: torch.device
    side: Side = ALONE
    """For what goes on beside training."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes what only one may write."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Elementwise sum over all processes, in float64."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        result: list[float] = tensor.tolist()
        return result

    def max(self, value: float) -> float:
        """Largest over all processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return float(tensor.item())

    def from_main(self, value: Any) -> Any:
        """The main process's value, on every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, by rank, on every process."""
        if self.size == 1:
            return [value]
        boxes: list[Any] = [None] * self.size
        dist.all_gather_object(boxes, value)
        return boxes

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the process group."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def init_world(device_kind: str, *, hang_timeout_s: float = 0.0) -> World:
    """Join the processes torchrun started (a lone process needs no torchrun): NCCL on CUDA, gloo on CPU."""
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device_kind == "cuda":
        if not torch.cuda.is_available():
            raise EnvironmentError_(
                "run.device is 'cuda' and torch sees no CUDA device",
                "`tuitrain doctor` says why; run.device=cpu works anywhere",
            )
        if local_rank >= torch.cuda.device_count():
            message = f"process {local_rank} has no GPU of its own: {torch.cuda.device_count()} visible, run.nproc is larger"
            raise EnvironmentError_(message, f"run.nproc={torch.cuda.device_count()}")
        torch.cuda.set_device(local_rank)
    device = torch.device("cuda", local_rank) if device_kind == "cuda" else torch.device("cpu")
    if size > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend,
            timeout=max(LEAST_TIMEOUT, timedelta(seconds=2 * hang_timeout_s)),
            device_id=device if device.type == "cuda" else None,
        )
    return World(rank=rank, size=size, device=device, side=Side.open(rank, size))
