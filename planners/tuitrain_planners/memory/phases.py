"""The moments of a training step that can be the peak. The peak is the largest of them, never their sum.

    forward             all activations saved, nothing else yet
    loss                plus logits and loss at their worst
    backward_start      head done; the last layer's backward with every other layer's activations still there
    backward_end        the first layer's backward: all gradients except the input embedding's (it comes last)
    backward_embedding  the embedding's gradient; when tied, a second table before it is added to the head's; sharded, this or
                        the moment it is summed over the ranks, whichever is fuller
    optimizer           gradients, moments and the step's workspace
    save                weights written, tensor by tensor

Without accumulation gradients do not exist before backward; with it the main gradients live through all phases. With a pipeline
the first and the last stage are two different devices: both are computed, and the fuller one is the answer.
Known error: below 1 % against the live tensors of a whole step of the trainer in fp32 (tests/golden/test_memory_parity.py).
Of the peak against op-level traces of its step in bf16-mixed, 88 layouts of four models on 1 to 64 devices: median 0.01 %,
worst 0.8 % (tests/golden/test_simulated.py). Two moments are left out: what one recomputed layer holds in forward, which makes
that phase up to 16 % fuller than planned but was never the peak; and layers between first and last, up to 0.8 % above the
peak. Allocator and context are added in `device`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.framework import FRAMEWORKS
from tuitrain_planners.memory.holding import ONE_DEVICE, Stage
from tuitrain_planners.memory.question import Question
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.memory.step import Step
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived
from tuitrain_planners.shapes import ModelShape

UNSHARDED: Final = Sharding(framework=FRAMEWORKS["tuitrain"])
GROUPS: Final = ("weights", "gradients", "optimizer", "gathered", "activations", "head", "buffers", "runtime")
"""The terms every phase is split into, as the JSON report names them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMemory:
    """Memory of one training step on one device."""

    phases: tuple[Quantity, ...]
    """One total per phase; its terms are named after GROUPS."""
    peak: Quantity
    """The largest phase."""
    states: Quantity
    """Weights and optimizer states: the part of every phase that is made once and stays."""
    stage: Stage = "only"
    """Which pipeline stage this is: the fullest."""
    host_bytes: Quantity
    """Host memory that offloaded states take, per device."""

    @property
    def peak_phase(self) -> Quantity:
        """The phase that is the peak; the earlier one when two are equal."""
        return max(self.phases, key=lambda phase: phase.value)


def step_memory(
    shape: ModelShape,
    *,
    seq_len: int,
    micro_batch: int,
    precision: Precision,
    optimizer: Optimizer,
    device: Literal["cpu", "gpu"],
    accumulating: bool = False,
    micro_batches: int | None = None,
    compiled: bool = False,
    recompute: str = "none",
    loss: str = "plain",
    chunk_rows: int | None = None,
    sharding: Sharding = UNSHARDED,
    mesh: Mesh = ONE_DEVICE,
    adapter: Adapter | None = None,
    reference: str = "none",
    offload: str = "none",
    attention: str = "flash",
    step_in_backward: bool = False,
    expert_imbalance: float = 1.0,
) -> StepMemory:
    """Every phase of one step, and the peak. `micro_batches` per step; None: two when accumulating, else one."""
    question = Question(
        shape=shape, seq_len=seq_len, micro_batch=micro_batch, precision=precision, optimizer=optimizer, device=device,
        micro_batches=micro_batches or (2 if accumulating else 1), compiled=compiled, recompute=recompute, loss=loss,
        chunk_rows=chunk_rows, sharding=sharding, mesh=mesh, adapter=adapter, reference=reference, offload=offload,
        attention=attention, step_in_backward=step_in_backward, expert_imbalance=expert_imbalance,
    )  # fmt: skip
    stages: tuple[Stage, ...] = ("only",) if mesh.pp == 1 else ("first", "last")
    return max((_of_stage(question, stage) for stage in stages), key=lambda each: each.peak.value)


def _of_stage(question: Question, stage: Stage) -> StepMemory:
    step = Step(question, stage)
    phases = step.phases()
    largest = max(phases, key=lambda each: each.value)
    inputs: dict[str, Quantity | float] = {each.name: each if each is largest else each.value for each in phases}
    peak = derived("peak memory", largest.value, "bytes", f"max({', '.join(inputs)})", **inputs)
    return StepMemory(phases=phases, peak=peak, states=step.states_held(), stage=stage, host_bytes=step.host_bytes())
