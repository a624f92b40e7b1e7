"""Step time, tokens per second, hours and utilisation.

* A measured device: executed FLOP / its curve by width, times what compiling gains at that width when the run compiles, give or
  take MEASURED_SPREAD (what repeated probes differ by on a busy machine) or the spread of the gain. Communication is hidden
  behind computation as long as that takes longer.
* A device known from its datasheet: `step_time`, give or take what published runs lie off it.
* A peak and no memory bandwidth: peak x MFU prior.

Evaluation, checkpoints, data loading and compilation come on top. MFU is FLOP per token x tokens per second / peak (Chowdhery
et al. 2022, appendix B), always with its FLOP convention named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.communication import data_axis_s
from tuitrain_planners.efficiency import generation_name
from tuitrain_planners.errors import PlanError
from tuitrain_planners.flops import executed_flop_per_token, flop_per_token, with_reference
from tuitrain_planners.framework import framework
from tuitrain_planners.hardware import Hardware, interpolated_gain, interpolated_rate
from tuitrain_planners.optimizers import optimizer
from tuitrain_planners.parameters import adapter_parameters
from tuitrain_planners.precision import Precision, precision_hint, recipe
from tuitrain_planners.quantity import Band, Quantity, derived, given
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.step_time import step_time
from tuitrain_planners.workload import Workload

MEASURED_SPREAD: Final = 0.10
"""Share by which a measured rate may be off either way."""
MODEL_SPREAD: Final = 0.20
"""Share by which the time model may be off either way: nine of ten published runs, fitted or held out, lie within."""
UNKNOWN_SPREAD: Final = 0.40
"""The same on a generation no run was published for."""
NO_COMMUNICATION: Final = given("communication", 0, "s", "definition")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """What one device computes per second while training."""

    band: Band
    """FLOP/s."""
    convention: str
    """The FLOP convention the rate counts in."""
    warning: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Throughput:
    """How fast the run goes."""

    rate: Rate
    step_s: Quantity
    tokens_per_s: Quantity
    duration_s: Band
    """Low is the fast end."""
    mfu: Quantity | None
    """None when the peak is unknown."""
    communication_s: Quantity = NO_COMMUNICATION
    """Along the data axis, per step, hidden or not."""
    waiting_s: Quantity = NO_COMMUNICATION
    """What of it computing does not hide."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Steps:
    """Seconds of one step."""

    band: Band
    rate: Rate
    communication_s: Quantity
    waiting_s: Quantity


def is_modelled(hardware: Hardware, precision: Precision) -> bool:
    """Whether `step_time` can tell a device's speed: nobody measured it, and its datasheet is complete."""
    if hardware.kind != "gpu" or hardware.rates:
        return False
    return hardware.memory_bandwidth_bytes_per_s is not None and hardware.peak(precision.peak_dtype) is not None


def workload(request: PlanRequest) -> Workload:
    """What a request asks of a device."""
    fused = framework(request.framework).fused_norms
    again = 1.0 if request.recompute == "full" else 0.0
    more = 0.0 if request.reference == "none" else 1.0  # the reference's forward
    selective = request.recompute == "selective" and framework(request.framework).selective != "attention"
    return Workload(
        shape=request.shape,
        hardware=request.hardware,
        seq_len=request.seq_len,
        micro_batch=request.sequences,
        micro_steps=request.grad_accum,
        mesh=request.mesh,
        precision=recipe(request.precision),
        sharding=request.sharding(),
        attention=request.attention,
        software="compiled" if request.compiled else "fused" if fused else "eager",
        again=again + more,
        # Written-out scores are what selective recomputation was made for (Korthikanti et al. 2022, section 5).
        attention_again=more + (1.0 if request.recompute == "selective" and request.attention == "naive" else again),
        elementwise_again=more + 1.0 if selective else None,
        adapter=request.adapter,
        optimizer=optimizer(request.optimizer),
    )


def executed_flop(request: PlanRequest, convention: str) -> Quantity:
    """FLOP per token that the devices compute, recomputation and a reference's forward included."""
    flop = executed_flop_per_token(request.shape, request.seq_len, request.recompute, convention, adapter=request.adapter)
    if request.reference == "none":
        return flop
    return with_reference(flop, request.shape, request.seq_len, convention, adapter=request.adapter)


def step_seconds(request: PlanRequest) -> Quantity:
    """Middle estimate of one optimizer step."""
    return _steps(request).band.mid


def training_rate(hardware: Hardware, hidden_size: int, precision: Precision, *, compiled: bool = False) -> Rate:
    """Measured curve where there is one, times what compiling gains; else peak x prior."""
    if hardware.rates:
        return _measured_rate(hardware, hidden_size, compiled=compiled)
    peak, prior = hardware.peak(precision.peak_dtype), hardware.mfu_prior
    if peak is None:
        raise PlanError(
            f"{hardware.name} does not compute in {precision.peak_dtype}: no such peak is known, and no rate was measured",
            precision_hint(hardware.peak_flop_per_s),
        )
    bands = [
        derived(
            f"training rate, {name}",
            peak.value * share,
            "FLOP/s",
            "peak * mfu",
            "palm2022",
            peak=peak,
            mfu=given(f"MFU prior, {name} ({prior.convention})", share, source=prior.source),
        )
        for name, share in (("low", prior.low), ("mid", prior.mid), ("high", prior.high))
    ]
    return Rate(band=Band(low=bands[0], mid=bands[1], high=bands[2]), convention=prior.convention)


def _measured_rate(hardware: Hardware, hidden_size: int, *, compiled: bool) -> Rate:
    mid, warning = interpolated_rate(hardware, hidden_size)
    share, source = MEASURED_SPREAD, "assumption: probes repeat within 10 %"
    if compiled and hardware.compile_gain is None:
        warning = "; ".join(filter(None, (warning, "what compiling gains here is not known yet; planned as without it")))
    elif compiled:
        assert hardware.compile_gain is not None
        gain = interpolated_gain(hardware.compile_gain, hidden_size)
        mid = derived("compiled training rate", mid.value * gain.value, "FLOP/s", "rate * gain", rate=mid, gain=gain)
        share, source = max(share, hardware.compile_gain.spread), hardware.compile_gain.source
    spread = given("spread of measured rates", share, source=source)
    low, high = (
        derived(
            f"training rate, {name}",
            mid.value * (1 + sign * share),
            "FLOP/s",
            f"rate * (1 {'+' if sign > 0 else '-'} spread)",
            hardware.source,
            rate=mid,
            spread=spread,
        )
        for sign, name in ((-1, "low"), (1, "high"))
    )
    return Rate(band=Band(low=low, mid=mid, high=high), convention=hardware.rates_convention, warning=warning)


def throughput(request: PlanRequest, *, tokens_per_step: Quantity, steps: int) -> Throughput:
    """Times of a whole run of `steps` optimizer steps."""
    made = _steps(request)
    step_s = made.band.mid

    def duration(name: str, each: Quantity) -> Quantity:
        return derived(f"duration, {name}", each.value * steps, "s", "steps * step", steps=steps, step=each)

    tokens_per_s = derived(
        "throughput", tokens_per_step.value / step_s.value, "tokens/s", "tokens / step", tokens=tokens_per_step, step=step_s
    )
    peak = request.hardware.peak(recipe(request.precision).peak_dtype)
    return Throughput(
        rate=made.rate,
        step_s=step_s,
        tokens_per_s=tokens_per_s,
        duration_s=Band(low=duration("low", made.band.low), mid=duration("mid", step_s), high=duration("high", made.band.high)),
        communication_s=made.communication_s,
        waiting_s=made.waiting_s,
        mfu=mfu(request.shape, request.seq_len, tokens_per_s, peak, request.mesh.devices, request.convention, request.adapter),
    )


def _steps(request: PlanRequest) -> _Steps:
    modelled = is_modelled(request.hardware, recipe(request.precision))
    return _modelled_steps(request) if modelled else _rated_steps(request)


def _modelled_steps(request: PlanRequest) -> _Steps:
    made = step_time(workload(request))
    generation = generation_name(request.hardware)
    share = UNKNOWN_SPREAD if generation == "other" else MODEL_SPREAD
    spread = given("spread of published runs around the model", share, source="measured: see planners/README.md")
    mid = made.step_s
    low, high = (
        derived(f"step time, {name}", mid.value * (1 + sign * share), "s", f"step * (1 {mark} spread)", step=mid, spread=spread)
        for sign, mark, name in ((-1, "-", "low"), (1, "+", "high"))
    )
    flop = executed_flop(request, "causal")
    tokens, n = request.tokens_per_step(), request.mesh.devices
    rates = [
        derived(
            f"training rate, {name}", flop.value * tokens.value / (step.value * n), "FLOP/s", "flop * tokens / (step * n)",
            flop=flop, tokens=tokens, step=step, n=n,
        )
        for name, step in (("low", high), ("mid", mid), ("high", low))
    ]  # fmt: skip
    warning = f"no training run was published for {request.hardware.name}; its speed is assumed"
    return _Steps(
        band=Band(low=low, mid=mid, high=high),
        rate=Rate(
            band=Band(low=rates[0], mid=rates[1], high=rates[2]),
            convention="causal",
            warning=warning if generation == "other" else "",
        ),
        communication_s=made.communication_s,
        waiting_s=made.exposed_s,
    )


def _rated_steps(request: PlanRequest) -> _Steps:
    """FLOP over a rate; all devices compute, and communication hides behind that."""
    precision, sharding = recipe(request.precision), request.sharding()
    rate = training_rate(request.hardware, request.shape.hidden_size, precision, compiled=request.compiled)
    flop = executed_flop(request, rate.convention)
    tokens, n = request.tokens_per_step(), request.mesh.devices
    send = data_axis_s(
        request.shape,
        precision,
        sharding,
        request.hardware,
        micro_steps=request.grad_accum,
        optimizer=optimizer(request.optimizer),
        stride=request.mesh.tp,
        trained=None if request.adapter is None else adapter_parameters(request.shape, request.adapter),
    )

    def step(name: str, flop_per_s: Quantity) -> tuple[Quantity, Quantity]:
        computing = derived(
            name if not send.value else f"computation, {name}", flop.value * tokens.value / (flop_per_s.value * n), "s",
            "flop * tokens / (rate * n)", flop=flop, tokens=tokens, rate=flop_per_s, n=n,
        )  # fmt: skip
        if not send.value:
            return computing, computing
        longer = max(computing.value, send.value)
        return derived(name, longer, "s", "max(compute, send)", compute=computing, send=send), computing

    mid, computing = step("step time", rate.band.mid)
    waiting = NO_COMMUNICATION
    if send.value:
        waiting = derived(
            "communication, not hidden", max(send.value - computing.value, 0), "s", "max(send - compute, 0)", send=send,
            compute=computing,
        )  # fmt: skip
    return _Steps(
        band=Band(
            low=step("step time at the high rate", rate.band.high)[0],
            mid=mid,
            high=step("step time at the low rate", rate.band.low)[0],
        ),
        rate=rate,
        communication_s=send,
        waiting_s=waiting,
    )


def mfu(
    shape: ModelShape,
    seq_len: int,
    tokens_per_s: Quantity,
    peak: Quantity | None,
    devices: int,
    convention: str,
    adapter: Adapter | None = None,
) -> Quantity | None:
    """Model FLOP utilisation in a named convention; None where the peak is unknown."""
    if peak is None:
        return None
    flop = flop_per_token(shape, seq_len, convention, adapter=adapter)
    return derived(
        f"MFU ({convention})",
        flop.value * tokens_per_s.value / (peak.value * devices),
        "",
        "flop * rate / (peak * n)",
        "palm2022",
        flop=flop,
        rate=tokens_per_s,
        peak=peak,
        n=devices,
    )
