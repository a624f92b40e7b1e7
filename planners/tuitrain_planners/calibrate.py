"""Calibration: what finished runs measured, folded back into the device they ran on.

Each run is planned again without any correction, and its tokens/s, peak memory and power are set beside what was measured. The
corrections are medians, so that one disturbed run among three changes nothing:

* rates: measured / planned tokens/s by width, a curve over the probe's - straight in log-log between widths, flat beyond them;
* memory: measured = runtime + offset + factor x (planned - runtime). Runs of different sizes tell factor and offset apart
  (Theil-Sen: median of the slopes between pairs); runs of one size correct the larger of the two parts and leave the other;
* power: measured / rated power, a share as `economy` assumes one.

A correction beyond PLAUSIBLE means something other than the model is wrong - a busy machine, a run of other software - and is
refused with its runs named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median
from typing import Final

from tuitrain_planners.errors import PlanError
from tuitrain_planners.hardware import Hardware, RateCorrection
from tuitrain_planners.memory.device import DeviceMemory
from tuitrain_planners.quantity import given

PLAUSIBLE: Final[Mapping[str, tuple[float, float]]] = {"rate": (0.4, 2.5), "memory": (0.6, 1.6), "power": (0.05, 1.1)}
"""Factors that are believed: a judgement, not a measurement. Within them a plan is off, beyond them it was another machine, or
one that was busy."""
MOST_OFFSET_BYTES: Final = 2**30
"""Most that interpreter, libraries and driver may take beyond what is assumed."""
LEAST_OFFSET: Final = -0.6
"""Share of the assumed runtime they may stay below it."""
APART: Final = 1.0
"""Share of the runtime by which two runs' planned memory must differ for their slope to mean something: resident memory of the
same run repeats within a tenth of it, so a slope is off by a tenth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One run: planned without corrections, and measured."""

    run: str
    hidden_size: int
    planned_tokens_per_s: float
    measured_tokens_per_s: float
    planned_peak_bytes: float
    """Of the trainer's own counter."""
    runtime_bytes: float
    """Part of `planned_peak_bytes` that no model size changes."""
    measured_peak_bytes: float
    rated_power_w: float | None = None
    measured_power_w: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """A factor, and the runs it is the median of."""

    factor: float
    runs: tuple[str, ...]
    offset_bytes: float = 0.0
    """Memory only."""

    @property
    def source(self) -> str:
        """For the explanation of every number that rests on it."""
        return f"measured: {len(self.runs)} run{'s' if len(self.runs) != 1 else ''} on this machine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A correction that is not believed."""

    what: str
    reason: str
    runs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Corrections of one device at one precision and thread count."""

    rates: Mapping[int, Correction]
    """By hidden size."""
    memory: Correction | None
    power: Correction | None
    """Its factor is the share of the rated power."""
    refused: tuple[Refusal, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rates or self.memory or self.power)


def calibrate(samples: Iterable[Sample]) -> Calibration:
    """The corrections of finished, healthy runs. PlanError without any, or with a number that cannot be."""
    runs = tuple(samples)
    if not runs:
        raise PlanError("no finished run to learn from", "`tuitrain demo` makes one in a few minutes")
    for each in runs:
        _check(each)
    refused: list[Refusal] = []
    by_width: dict[int, list[Sample]] = {}
    for each in runs:
        by_width.setdefault(each.hidden_size, []).append(each)
    rates = {
        width: found
        for width, those in sorted(by_width.items())
        if (found := _ratio(those, "rate", f"tokens/s at width {width}", _rate_ratio, refused))
    }
    drawn = [each for each in runs if each.rated_power_w and each.measured_power_w]
    return Calibration(
        rates=rates,
        memory=_memory(runs, refused),
        power=_ratio(drawn, "power", "share of the rated power", _power_share, refused) if drawn else None,
        refused=tuple(refused),
    )


def corrected(hardware: Hardware, calibration: Calibration) -> Hardware:
    """The device as the runs found it: its curve scaled, with knots at the widths that ran; memory and power beside it."""
    memory, power = calibration.memory, calibration.power
    changed = hardware
    if memory:
        factor = given("measured over planned memory of the model", memory.factor, source=memory.source)
        offset = given("measured less planned memory of the runtime", memory.offset_bytes, "bytes", memory.source)
        changed = replace(changed, memory_correction={"correction": factor, "offset": offset})
    if power:
        changed = replace(changed, power_share=given("share of the rated power", power.factor, source=power.source))
    if not calibration.rates:
        return changed
    runs = {run for each in calibration.rates.values() for run in each.runs}
    source = Correction(factor=1, runs=tuple(runs)).source
    curve = tuple(sorted((width, each.factor) for width, each in calibration.rates.items()))
    return changed.with_rate_correction(RateCorrection(curve=curve, source=source))


def counted_peak_bytes(memory: DeviceMemory, hardware: Hardware) -> float:
    """What the trainer's own counter will see, corrected: resident memory on a CPU, allocated memory on a GPU."""
    if hardware.kind == "cpu":
        return memory.device_bytes.mid.value
    runtime, correction = runtime_bytes(memory), hardware.memory_correction
    if not correction:
        return memory.step.peak.value
    return runtime + correction["offset"].value + correction["correction"].value * (memory.step.peak.value - runtime)


def runtime_bytes(memory: DeviceMemory) -> float:
    """Part of the peak that no model size changes."""
    peak = memory.step.peak_phase
    return next(each.value for each in peak.walk() if each.name == "runtime")


def _rate_ratio(sample: Sample) -> float:
    return sample.measured_tokens_per_s / sample.planned_tokens_per_s


def _power_share(sample: Sample) -> float:
    assert sample.measured_power_w is not None, "only runs with both are asked"
    assert sample.rated_power_w is not None, "only runs with both are asked"
    return sample.measured_power_w / sample.rated_power_w


def _ratio(
    samples: Sequence[Sample], kind: str, what: str, ratio: Callable[[Sample], float], refused: list[Refusal]
) -> Correction | None:
    """Median of the runs' ratios, or a refusal."""
    found = Correction(factor=median(ratio(each) for each in samples), runs=tuple(each.run for each in samples))
    low, high = PLAUSIBLE[kind]
    if low <= found.factor <= high:
        return found
    reason = f"measured is {found.factor:.3g} times what is planned, believed are {low:g} to {high:g}"
    refused.append(Refusal(what=what, reason=reason, runs=found.runs))
    return None


def _memory(samples: Sequence[Sample], refused: list[Refusal]) -> Correction | None:
    """Factor of what the model's size decides, offset of what it does not."""
    pairs = [(each.planned_peak_bytes - each.runtime_bytes, each.measured_peak_bytes - each.runtime_bytes) for each in samples]
    slopes = [
        (more[1] - less[1]) / (more[0] - less[0])
        for less, more in (sorted(pair) for pair in combinations(pairs, 2))
        if more[0] - less[0] > APART * samples[0].runtime_bytes
    ]
    model_decides = median(planned / (planned + each.runtime_bytes) for (planned, _), each in zip(pairs, samples, strict=True))
    if slopes:
        factor = median(slopes)
        offset = median(measured - factor * planned for planned, measured in pairs)
    elif model_decides >= 0.5:
        factor, offset = median(measured / planned for planned, measured in pairs), 0.0
    else:
        factor, offset = 1.0, median(measured - planned for planned, measured in pairs)
    found = Correction(factor=factor, offset_bytes=offset, runs=tuple(each.run for each in samples))
    low, high = PLAUSIBLE["memory"]
    least, most = LEAST_OFFSET * median(each.runtime_bytes for each in samples), float(MOST_OFFSET_BYTES)
    if low <= factor <= high and least <= offset <= most:
        return found
    reason = (
        f"measured is {factor:.3g} times what is planned {offset / 2**20:+.0f} MiB, believed are {low:g} to {high:g} times "
        f"and {least / 2**20:+.0f} to {most / 2**20:+.0f} MiB"
    )
    refused.append(Refusal(what="peak memory", reason=reason, runs=found.runs))
    return None


def _check(sample: Sample) -> None:
    for name in ("planned_tokens_per_s", "measured_tokens_per_s", "planned_peak_bytes", "measured_peak_bytes"):
        if not 0 < (value := getattr(sample, name)) < float("inf"):
            raise PlanError(f"{sample.run}: {name} is {value}", "a positive number; leave the run out")
