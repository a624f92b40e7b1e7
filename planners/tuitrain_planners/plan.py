"""plan(request) -> Plan: every number of a training run, before it starts.

Pure: no clock, no files, no probing. What is assumed is an input of the quantity that uses it and shows up in its explanation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tuitrain_planners.carbon import embodied_kg_co2e, kg_co2e
from tuitrain_planners.cost import gpu_hours, usd
from tuitrain_planners.energy import kwh
from tuitrain_planners.flops import by_convention, flop_per_token, with_reference
from tuitrain_planners.forecast import final_loss, guessing_loss, loss_curve, optimal_length, planned_length
from tuitrain_planners.goodput import Goodput, goodput
from tuitrain_planners.grid import by_stage
from tuitrain_planners.memory.device import DeviceMemory
from tuitrain_planners.memory.sharding import STAGES
from tuitrain_planners.parameters import active_parameters, adapter_parameters, count_parameters
from tuitrain_planners.quantity import Band, Quantity, derived
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.scaling import REPETITIONS_TRUSTED, optimal_band, optimal_by_fit, training_verdict
from tuitrain_planners.storage import Storage, storage
from tuitrain_planners.throughput import Throughput, throughput
from tuitrain_planners.units import format_bytes, format_count

WAITING_TOLD: Final = 0.3
"""Share of a step spent waiting for communication from which on a warning says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The answer."""

    request: PlanRequest
    parameters: Quantity
    active_parameters: Quantity
    """What a token uses: fewer than all with experts."""
    trainable_parameters: Quantity
    """What gets gradients: fewer than all with adapters."""
    flop_per_token: Quantity
    """In the request's convention."""
    flop_by_convention: Mapping[str, Quantity]
    total_flop: Quantity
    tokens: Quantity
    steps: int
    """Whole optimizer steps; the last may go beyond `tokens`."""
    tokens_per_step: Quantity
    tokens_per_parameter: Quantity
    optimal_tokens: Quantity
    """By the request's law."""
    optimal_band: Band
    """The same, one standard error of the law's exponent either way."""
    optimal_by_fit: Mapping[str, Quantity]
    training_verdict: str
    """Under-trained, near compute-optimal or over-trained, in words."""
    memory: DeviceMemory
    memory_by_stage: tuple[DeviceMemory, ...]
    """The same under ZeRO 0, 1, 2 and 3."""
    throughput: Throughput
    goodput: Goodput
    """Training steps against wall-clock time."""
    storage: Storage
    """Disk, and RAM of the host."""
    gpu_hours: Band
    """Hours of all devices together; on a CPU, of the machine."""
    usd: Band | None
    """None where no price is known."""
    kwh: Band | None
    """None where the device's power is not known."""
    kg_co2e: Band | None
    embodied_kg_co2e: Band | None
    """The share of what making the devices emitted; None when it was not asked for."""
    loss: Quantity
    """Predicted loss at the end, in the law's unit."""
    loss_curve: tuple[tuple[int, float], ...]
    """(step, loss) on the way there."""
    warnings: tuple[str, ...]
    """What the reader should know before believing the numbers."""

    @property
    def is_pretraining(self) -> bool:
        """Whether the scaling laws' figures mean something: they do not for adapters and preferences."""
        return _is_pretraining(self.request)


def plan(request: PlanRequest) -> Plan:
    """All figures of one run."""
    shape, hardware = request.shape, request.hardware
    parameters, per_step = count_parameters(shape), request.tokens_per_step()
    optimal = optimal_length(request, parameters)
    tokens = planned_length(request, per_step, optimal)
    steps = request.steps or math.ceil(tokens.value / per_step.value)
    stages = by_stage(request)
    memory = stages[request.sharding().stage]
    speed = throughput(request, tokens_per_step=per_step, steps=steps)
    hours = gpu_hours(speed.duration_s, request.mesh.devices)
    energy = kwh(hours, hardware, request.economy)
    flop = flop_per_token(shape, request.seq_len, request.convention, adapter=request.adapter)
    if request.reference != "none":
        flop = with_reference(flop, shape, request.seq_len, request.convention, adapter=request.adapter)
    stored = storage(request, tokens, memory.step)
    loss = final_loss(request, parameters, tokens)
    return Plan(
        request=request,
        parameters=parameters,
        active_parameters=active_parameters(shape),
        trainable_parameters=parameters if request.adapter is None else adapter_parameters(shape, request.adapter),
        flop_per_token=flop,
        flop_by_convention=by_convention(shape, request.seq_len, adapter=request.adapter),
        total_flop=derived(
            f"total FLOP ({request.convention})", flop.value * tokens.value, "FLOP", "flop * D", flop=flop, D=tokens
        ),
        tokens=tokens,
        steps=steps,
        tokens_per_step=per_step,
        tokens_per_parameter=derived(
            "tokens per parameter", tokens.value / parameters.value, "", "D / N", D=tokens, N=parameters
        ),
        optimal_tokens=optimal,
        optimal_band=optimal_band(request.law, parameters.value),
        optimal_by_fit=optimal_by_fit(parameters.value),
        training_verdict=training_verdict(tokens.value, optimal.value),
        memory=memory,
        memory_by_stage=stages,
        throughput=speed,
        goodput=goodput(speed.duration_s, request.mesh.devices, stored.checkpoint_bytes, request.host, request.reliability),
        storage=stored,
        gpu_hours=hours,
        usd=usd(hours, energy, hardware, request.economy),
        kwh=energy,
        kg_co2e=kg_co2e(energy, request.economy),
        embodied_kg_co2e=embodied_kg_co2e(hours, request.economy),
        loss=loss,
        loss_curve=loss_curve(request, parameters, tokens, steps),
        warnings=(
            *_machine_warnings(request, memory, speed),
            *_host_warnings(request, stored),
            *(_loss_warnings(request, parameters, tokens, loss) if _is_pretraining(request) else ()),
        ),
    )


def _is_pretraining(request: PlanRequest) -> bool:
    """Whether scaling laws speak about this run."""
    return request.adapter is None and request.reference == "none"


def _what_needs_less(request: PlanRequest) -> str:
    """What is left to try."""
    ways = [
        "a smaller micro-batch with more accumulation" if request.micro_batch > 1 else "",
        "recomputation" if request.recompute == "none" else "full recomputation" if request.recompute == "selective" else "",
        "a chunked loss head" if request.loss_head == "plain" else "",
        "a higher ZeRO stage" if request.mesh.state_ranks > 1 and request.zero < STAGES[-1] else "",
        "adapters beside a quantised model" if request.adapter is None else "",
    ]
    left = [each for each in ways if each] or ["a shorter sequence"]
    return f"{' or '.join(left)} need{'s' if len(left) == 1 else ''} less"


def _machine_warnings(request: PlanRequest, memory: DeviceMemory, speed: Throughput) -> Iterator[str]:
    if memory.verdict != "fits":
        high, mid = format_bytes(memory.device_bytes.high.value), format_bytes(memory.device_bytes.mid.value)
        yield (
            f"memory: {memory.step.peak_phase.name} needs {mid} (up to {high}) of {format_bytes(memory.capacity_bytes)}; "
            f"{_what_needs_less(request)}"
        )
    if speed.rate.warning:
        yield f"speed: {speed.rate.warning}"
    if (wait := speed.waiting_s.value) > WAITING_TOLD * speed.step_s.value:
        yield (
            f"speed: {wait:.3g} s of every step wait for communication; "
            "a larger batch per device, a lower ZeRO stage or faster links help"
        )
    shape = request.shape
    if request.seq_len > shape.max_seq_len:
        yield f"shape: seq_len {request.seq_len} is longer than the {shape.max_seq_len} {shape.name} is made for"


def _host_warnings(request: PlanRequest, stored: Storage) -> Iterator[str]:
    if stored.host_verdict == "oom" and stored.host_bytes is not None and request.host.memory_bytes is not None:
        needed, there = format_bytes(stored.host_bytes.value), format_bytes(request.host.memory_bytes)
        yield f"host: loading and offloading need {needed} of RAM, the machine has {there}"
    if request.economy.spot:
        yield "cost: a spot device is taken back when someone pays more; wall clock and goodput count failures only"


def _loss_warnings(request: PlanRequest, parameters: Quantity, tokens: Quantity, loss: Quantity) -> Iterator[str]:
    law = request.law
    if request.shape.experts is not None:
        yield f"loss: the law {law.name!r} is about dense models; of this mixture it takes all parameters, not the active ones"
    if law.extrapolates(parameters.value):
        low, high = (format_count(each) for each in law.fitted_parameters)
        yield f"loss: the law {law.name!r} was fitted on {low} to {high} parameters, not on {format_count(parameters.value)}"
    if loss.value > (guess := guessing_loss(request)):
        yield f"loss: the law gives {loss.value:.3g}, more than guessing evenly ({guess:.3g}); it does not reach so short a run"
    if request.unique_tokens is not None and tokens.value > REPETITIONS_TRUSTED * request.unique_tokens:
        epochs = tokens.value / request.unique_tokens
        yield f"loss: {epochs:.0f} passes over the data; beyond {REPETITIONS_TRUSTED:.0f} overfitting is not predicted"
