"""Workload: what one training step asks of a device, apart from what the device is worth. The time model reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.hardware import Hardware
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.precision import Precision
from tuitrain_planners.shapes import ModelShape

NODE_DEVICES: Final = 8
"""Devices that share the fast links of one machine, unless told otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One step of one layout."""

    shape: ModelShape
    hardware: Hardware
    seq_len: int
    micro_batch: int
    micro_steps: int
    """Micro-batches of one optimizer step, per data-parallel rank."""
    mesh: Mesh
    precision: Precision
    sharding: Sharding
    attention: str = "flash"
    """flash | naive."""
    software: str = "eager"
    """One of `efficiency.SOFTWARE`."""
    kernel: str = "second"
    """One of `efficiency.KERNELS`."""
    again: float = 0.0
    """Share of the layers' forward products that backward repeats: 1 under full recomputation."""
    attention_again: float = 0.0
    """Share of the attention that backward repeats."""
    elementwise_again: float | None = None
    """... of norms, rotations and activation functions; None: as of the products."""
    adapter: Adapter | None = None
    optimizer: Optimizer | None = None
    """Moves the weights; one that orthogonalises sends cut matrices around. None: one that does not."""
    tensor_overlap: bool = False
    """Whether tensor-parallel collectives travel in pieces under the products that need them (TransformerEngine)."""
    overlap: bool = True
    """Whether gradients travel while backward computes."""
    node_devices: int = NODE_DEVICES

    @property
    def tokens(self) -> int:
        """Of one micro-batch, on one device."""
        return self.seq_len * self.micro_batch // self.mesh.cp or 1

    @property
    def product_dtype(self) -> str:
        """Whose peak the layers' products run at."""
        return self.precision.peak_dtype

    @property
    def wide_dtype(self) -> str:
        """Whose peak attention and the head run at: in 8-bit recipes they stay in 16 bits."""
        return "bf16" if self.product_dtype in ("fp8", "fp4") else self.product_dtype
