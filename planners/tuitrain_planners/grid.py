"""The same step in other layouts: under every ZeRO stage, in every precision. What fits is seen at a glance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tuitrain_planners.memory.device import DeviceMemory, device_memory
from tuitrain_planners.memory.phases import step_memory
from tuitrain_planners.memory.sharding import STAGES
from tuitrain_planners.optimizers import optimizer
from tuitrain_planners.precision import recipe
from tuitrain_planners.request import PlanRequest


def memory_of(request: PlanRequest, *, zero: int | None = None) -> DeviceMemory:
    """Memory of one device; under another ZeRO stage when one is given."""
    kind = request.hardware.kind
    step = step_memory(
        request.shape,
        seq_len=request.seq_len,
        micro_batch=request.micro_batch,
        precision=recipe(request.precision),
        optimizer=optimizer(request.optimizer),
        device=kind,
        micro_batches=request.grad_accum,
        compiled=request.compiled,
        recompute=request.recompute,
        loss=request.loss_head,
        chunk_rows=request.chunk_rows,
        sharding=request.sharding(zero),
        mesh=request.mesh,
        adapter=request.adapter,
        reference=request.reference,
        offload=request.offload,
        attention=request.attention,
        step_in_backward=request.step_in_backward,
        expert_imbalance=request.expert_imbalance,
    )
    return device_memory(
        step,
        kind=kind,
        capacity_bytes=request.hardware.memory_bytes,
        compiled=request.compiled,
        communicators=request.mesh.communicators,
        variable_lengths=request.variable_lengths,
        resident=request.sharding().framework.resident,
        measured=request.hardware.memory_correction,
    )


def by_stage(request: PlanRequest) -> tuple[DeviceMemory, ...]:
    """ZeRO 0, 1, 2, 3. On one device there is nothing to shard, and all are the same."""
    if request.mesh.state_ranks == 1:
        return (memory_of(request, zero=0),) * len(STAGES)
    return tuple(memory_of(request, zero=stage) for stage in STAGES)


def by_precision(request: PlanRequest, precisions: Iterable[str]) -> dict[str, tuple[DeviceMemory, ...]]:
    """Every stage in every precision, everything else as asked for."""
    return {name: by_stage(replace(request, precision=name)) for name in precisions}
