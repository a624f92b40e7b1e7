"""What a step's memory depends on, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.precision import Precision
from tuitrain_planners.shapes import ModelShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a step's memory depends on; see `phases.step_memory`."""

    shape: ModelShape
    seq_len: int
    micro_batch: int
    precision: Precision
    optimizer: Optimizer
    device: Literal["cpu", "gpu"]
    micro_batches: int
    compiled: bool
    recompute: str
    loss: str
    chunk_rows: int | None
    sharding: Sharding
    mesh: Mesh
    adapter: Adapter | None
    reference: str
    offload: str
    attention: str
    step_in_backward: bool
    expert_imbalance: float = 1.0

    @property
    def sequences(self) -> int:
        """Sequences in a forward pass: a preference pair is two."""
        return self.micro_batch * (1 if self.reference == "none" else 2)
