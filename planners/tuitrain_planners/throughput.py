"""Step time, tokens per second, hours and utilisation, from FLOP and a rate that is measured or assumed.

Training time is all arithmetic on matrix products here: executed FLOP / rate. Evaluation, checkpoints, data loading and
compilation come on top; communication between devices is in `communication`. The rate is a band:

* measured device: its eager curve by width, times what compiling gains at that width when the run compiles, give or take
  MEASURED_SPREAD (what repeated probes differ by on a busy machine) or the spread of the gain;
* datasheet device: peak x MFU prior, low / mid / high.

MFU is FLOP per token x tokens per second / peak (Chowdhery et al. 2022, appendix B), always with its FLOP convention named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import PlanError
from tuitrain_planners.flops import executed_flop_per_token, flop_per_token
from tuitrain_planners.hardware import Hardware, interpolated_gain, interpolated_rate
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Band, Quantity, derived, given
from tuitrain_planners.shapes import ModelShape

MEASURED_SPREAD: Final = 0.10
"""Share by which a measured rate may be off either way."""


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
    """Per step, hidden or not."""


def training_rate(hardware: Hardware, hidden_size: int, precision: Precision, *, compiled: bool = False) -> Rate:
    """Measured curve where there is one, times what compiling gains; else peak x prior."""
    if hardware.rates:
        return _measured_rate(hardware, hidden_size, compiled=compiled)
    peak, prior = hardware.peak(precision.peak_dtype), hardware.mfu_prior
    if peak is None:
        raise PlanError(
            f"{hardware.name} has neither a measured training rate nor a {precision.peak_dtype} peak",
            "measure the machine, or name a hardware preset that lists this dtype",
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


def token_s(shape: ModelShape, seq_len: int, rate: Rate, recompute: str = "none") -> Quantity:
    """Seconds one device needs per trained token, at the middle rate."""
    flop = executed_flop_per_token(shape, seq_len, recompute, rate.convention)
    return derived("time per token", flop.value / rate.band.mid.value, "s", "flop / rate", flop=flop, rate=rate.band.mid)


def throughput(
    shape: ModelShape,
    *,
    seq_len: int,
    tokens_per_step: Quantity,
    steps: int,
    hardware: Hardware,
    precision: Precision,
    recompute: str = "none",
    compiled: bool = False,
    devices: int = 1,
    communication: Quantity = NO_COMMUNICATION,
    mfu_convention: str = "causal",
) -> Throughput:
    """Times of a whole run on `devices` equal devices. Communication is hidden behind computation as long as that takes
    longer."""
    rate = training_rate(hardware, shape.hidden_size, precision, compiled=compiled)
    per_token = executed_flop_per_token(shape, seq_len, recompute, rate.convention)

    def step_time(name: str, flop_per_s: Quantity) -> Quantity:
        computing = derived(
            name if not communication.value else f"computation, {name}",
            per_token.value * tokens_per_step.value / (flop_per_s.value * devices),
            "s",
            "flop * tokens / (rate * n)",
            flop=per_token,
            tokens=tokens_per_step,
            rate=flop_per_s,
            n=devices,
        )
        if not communication.value:
            return computing
        longer = max(computing.value, communication.value)
        return derived(name, longer, "s", "max(compute, send)", compute=computing, send=communication)

    def duration(name: str, step_s: Quantity) -> Quantity:
        return derived(f"duration, {name}", step_s.value * steps, "s", "steps * step", steps=steps, step=step_s)

    step_s = step_time("step time", rate.band.mid)
    tokens_per_s = derived(
        "throughput", tokens_per_step.value / step_s.value, "tokens/s", "tokens / step", tokens=tokens_per_step, step=step_s
    )
    return Throughput(
        rate=rate,
        step_s=step_s,
        tokens_per_s=tokens_per_s,
        duration_s=Band(
            low=duration("low", step_time("step time at the high rate", rate.band.high)),
            mid=duration("mid", step_s),
            high=duration("high", step_time("step time at the low rate", rate.band.low)),
        ),
        communication_s=communication,
        mfu=_mfu(shape, seq_len, tokens_per_s, hardware.peak(precision.peak_dtype), devices, mfu_convention),
    )


def _mfu(
    shape: ModelShape, seq_len: int, tokens_per_s: Quantity, peak: Quantity | None, devices: int, convention: str
) -> Quantity | None:
    if peak is None:
        return None
    flop = flop_per_token(shape, seq_len, convention)
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
