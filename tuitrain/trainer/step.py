"""One optimizer step: micro-batches forward and backward, one global sum, a judgement, and only then the weights.

The loss of a step is the sum over its valid tokens divided by their number, over all micro-batches and processes (transformers
#34191, torchtune #1875, torchtitan #2206 divided by something else). Each micro-batch is scaled by a constant, the expected
number of targets per process, so that 16-bit gradients keep a sane size; the exact count corrects them once it is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tuitrain.trainer.batches import MicroBatch
from tuitrain.trainer.guards import StepGuard, Trip
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.apply import accumulating
from tuitrain.trainer.parallel.norm import global_norm
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.scaler import LossScaler


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What one step found."""

    loss: float
    """Nats per valid token over the global batch."""
    grad_norm: float
    """Global norm before clipping; NaN when a gradient is not finite."""
    tokens: int
    """Tokens of the global batch the model has read."""
    valid: int
    """What the loss was divided by: those of them that are targets, or pairs."""
    signals: list[float]
    """Sums over processes of what the caller passed in."""
    trip: Trip | None = None
    overflowed: bool = False


def forward_backward(module: nn.Module, batches: Sequence[MicroBatch], *, scale: float) -> tuple[float, int]:
    """Gradients of scale * (sum of losses), added up over the micro-batches. Returns (sum of losses, valid targets) of this
    process."""
    total = torch.zeros((), dtype=torch.float32, device=batches[0].tokens.device)
    for index, batch in enumerate(batches):
        with torch.enable_grad(), accumulating(module, last=index == len(batches) - 1):
            loss = module(*batch.inputs())
            (loss * scale).backward()
        total += loss.detach()
    return float(total), sum(batch.valid for batch in batches)


def train_step(
    module: nn.Module,
    optimizers: Optimizers,
    batches: Sequence[MicroBatch],
    world: World,
    *,
    expected_targets: int,
    clip_norm: float | None,
    guard: StepGuard | None,
    scaler: LossScaler,
    signals: Sequence[float] = (),
) -> StepResult:
    """One step over the global batch, of which `batches` is this process's part and `expected_targets` its size.

    The weights change only when loss and gradients are finite and no spike; gradients are always gone afterwards.
    """
    per_process = expected_targets / world.size
    loss_sum, valid = forward_backward(module, batches, scale=scaler.scale / per_process)
    read = sum(batch.read or batch.valid for batch in batches)
    sums = world.sum([loss_sum, float(valid), float(read), *signals])
    global_loss, global_valid = sums[0] / max(1.0, sums[1]), sums[1]
    gradients = optimizers.gradients()
    # Averaged over processes and scaled by 1/per_process above: what is left is expected over true count.
    correction = expected_targets / max(1.0, global_valid) / scaler.scale
    norm = global_norm(gradients) * correction
    overflowed = scaler.enabled and math.isfinite(global_loss) and not math.isfinite(norm)
    trip = guard.judge(global_loss, norm) if guard and not overflowed else None
    if overflowed:
        scaler.overflowed()
    elif trip is None:
        factor = correction * (min(1.0, clip_norm / (norm + 1e-6)) if clip_norm is not None else 1.0)
        if factor != 1.0:
            torch._foreach_mul_(gradients, factor)
        optimizers.step()
        scaler.went_well()
    optimizers.zero_grad()
    return StepResult(
        loss=global_loss,
        grad_norm=norm,
        tokens=int(sums[2]),
        valid=int(global_valid),
        signals=sums[3:],
        trip=trip,
        overflowed=overflowed,
    )
