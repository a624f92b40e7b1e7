"""What a process holds before it trains anything: interpreter, torch, driver context. Named assumptions, as bands.

On the CPU memory means resident memory, so interpreter and torch count from the first byte. On a GPU torch's counters see
its own workspace only; the driver's context comes on top, outside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, given
from tuitrain_planners.shapes import ModelShape

MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Assumptions for one kind of device."""

    counted_bytes: Quantity
    """Part of `peak_bytes`: what the trainer's own measurement would see."""
    outside_bytes: tuple[float, float, float]
    """Low, mid, high of what comes on top on the device."""
    counted_band: tuple[float, float, float]
    """Low, mid, high of `counted_bytes`."""
    allocator_factor: tuple[float, float, float]
    """Low, mid, high of reserved / allocated: fragmentation and rounding."""
    variable_factor: tuple[float, float, float]
    """The same when micro-batches differ in length."""
    source: str
    """Where the outside bytes and the factors come from."""
    states_fragment: bool = True
    """Whether the factors apply to weights and optimizer states too. They are made once, in blocks of their own; on the CPU
    only what comes and goes leaves holes."""
    communicator_bytes: tuple[float, float, float] = (0, 0, 0)
    """Low, mid, high of what each group of devices that talk takes outside the allocator."""
    compiler_bytes: Quantity
    """Part of `peak_bytes` of a compiled run."""

    def counted(self, *, compiled: bool) -> tuple[Quantity, ...]:
        """What the trainer's own measurement sees from the first byte."""
        return (self.counted_bytes, self.compiler_bytes) if compiled else (self.counted_bytes,)


_RESIDENT: Final = "measured: resident memory of 8 runs, eager and compiled (benchmarks/results/memory.json)"

CPU: Final = Runtime(
    counted_bytes=given("interpreter and torch", 500 * MIB, "bytes", _RESIDENT),
    outside_bytes=(0, 0, 0),
    counted_band=(420 * MIB, 500 * MIB, 620 * MIB),
    allocator_factor=(1.10, 1.32, 1.50),
    variable_factor=(1.10, 1.32, 1.50),
    source=f"{_RESIDENT}: malloc keeps a third of the live tensors' size on top of them",
    compiler_bytes=given("compiler and compiled code", 120 * MIB, "bytes", _RESIDENT),
)

_TUNING: Final = (
    "measured: resident memory of full and QLoRA runs of SmolLM2-135M at 512 and 1024 tokens "
    "(benchmarks/results/finetune_quality.json)"
)

CPU_TRANSFORMERS: Final = Runtime(
    counted_bytes=given("interpreter, torch, transformers, peft, bitsandbytes", 575 * MIB, "bytes", _TUNING),
    outside_bytes=(0, 0, 0),
    counted_band=(540 * MIB, 575 * MIB, 700 * MIB),
    allocator_factor=(1.25, 1.55, 1.85),
    variable_factor=(1.25, 1.55, 1.85),
    source=f"{_TUNING}: activations of many sizes live at once, and malloc keeps half of their size between them",
    states_fragment=False,
    compiler_bytes=CPU.compiler_bytes,
)

GPU: Final = Runtime(
    counted_bytes=given("cuBLAS workspace", 32 * MIB, "bytes", "assumption: torch's default workspace on Hopper; 8 MiB before"),
    outside_bytes=(460 * MIB, 600 * MIB, 970 * MIB),
    counted_band=(8 * MIB, 32 * MIB, 64 * MIB),
    allocator_factor=(1.02, 1.10, 1.20),
    variable_factor=(1.08, 1.22, 1.45),
    source=(
        "assumption: CUDA context 0.45-0.95 GiB by driver; NCCL 0.3-1.5 GiB per communicator; reserved over allocated "
        "1.09-1.20 observed in published runs"
    ),
    communicator_bytes=(300 * MIB, 700 * MIB, 1500 * MIB),
    compiler_bytes=given("compiled code on the device", 0, "bytes", "definition: the compiler lives in host memory"),
)


def runtime(kind: Literal["cpu", "gpu"], resident: str = "torch") -> Runtime:
    """The assumptions for a kind of device, and for the libraries a process holds (`Framework.resident`)."""
    if kind == "gpu":
        return GPU
    return CPU_TRANSFORMERS if resident == "transformers" else CPU


def buffer_bytes(shape: ModelShape, seq_len: int, precision: Precision) -> Quantity:
    """Cosine and sine of the rotary angles, half a head wide each, made once per forward pass. None with learned positions."""
    if shape.learned_positions:
        return given("buffers", 0, "bytes", "definition")
    s, d, c = seq_len, shape.head_dim, precision.compute_bytes
    return derived("buffers", s * d * c, "bytes", "2 * s * d / 2 * c", s=s, d=d, c=c)
