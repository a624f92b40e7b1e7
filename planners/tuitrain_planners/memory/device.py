"""From live tensors to the number a monitor shows: allocator, driver context, and whether it fits.

Three figures, because tools show different ones: `peak` is what the trainer's own counter sees (CUDA allocated, or resident
memory on the CPU), `reserved` what the allocator took from the driver, `device` what nvidia-smi or the system shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from tuitrain_planners.memory.phases import StepMemory
from tuitrain_planners.memory.runtime import Runtime, runtime
from tuitrain_planners.quantity import Band, Quantity, derived, given, total

Verdict = Literal["fits", "tight", "oom"]
NOTHING_MEASURED: Final[Mapping[str, Quantity]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceMemory:
    """A step's memory as the device sees it."""

    step: StepMemory
    reserved_bytes: Quantity
    device_bytes: Band
    capacity_bytes: float
    verdict: Verdict
    """fits: even the high end does; tight: the middle does; oom: the middle does not."""


def device_memory(
    step: StepMemory,
    *,
    kind: Literal["cpu", "gpu"],
    capacity_bytes: float,
    compiled: bool = False,
    communicators: int = 0,
    variable_lengths: bool = False,
    resident: str = "torch",
    measured: Mapping[str, Quantity] = NOTHING_MEASURED,
) -> DeviceMemory:
    """Reserved and device memory with their band, and the verdict against the capacity. `measured`: its own correction;
    `resident`: the libraries a process holds."""
    assumed = runtime(kind, resident)
    if variable_lengths:
        assumed = replace(assumed, allocator_factor=assumed.variable_factor)
    counted = total("counted runtime", assumed.counted(compiled=compiled))
    band = [_device_bytes(step, assumed, counted, communicators, index, measured) for index in range(3)]
    low, mid, high = band
    verdict: Verdict = "fits" if high.value <= capacity_bytes else "tight" if mid.value <= capacity_bytes else "oom"
    return DeviceMemory(
        step=step,
        reserved_bytes=_reserved_bytes(step, assumed, counted, 1, measured),
        device_bytes=Band(low=low, mid=mid, high=high),
        capacity_bytes=capacity_bytes,
        verdict=verdict,
    )


def _reserved_bytes(
    step: StepMemory, assumed: Runtime, counted: Quantity, index: int, measured: Mapping[str, Quantity]
) -> Quantity:
    """What the allocator holds for the live tensors, and this band's runtime; what the compiler takes is the same in every
    band."""
    peak, factor, whole = step.peak, assumed.allocator_factor[index], not assumed.states_fragment
    kept = step.states.value if whole else 0
    live = "((peak - counted - states) * factor + states)" if whole else "(peak - counted) * factor"
    runtime_bytes = counted.value - assumed.counted_bytes.value + assumed.counted_band[index]
    correction, offset = (measured[each].value if measured else neutral for each, neutral in (("correction", 1), ("offset", 0)))
    return derived(
        f"reserved memory, {_BANDS[index]}",
        ((peak.value - counted.value - kept) * factor + kept) * correction + runtime_bytes + offset,
        "bytes",
        live + (" * correction + runtime + offset" if measured else " + runtime"),
        assumed.source,
        peak=peak,
        counted=counted,
        factor=given("allocator factor", factor, source=assumed.source),
        runtime=given("runtime", runtime_bytes, "bytes", assumed.source),
        **({"states": step.states} if whole else {}),
        **measured,
    )


def _device_bytes(
    step: StepMemory, assumed: Runtime, counted: Quantity, communicators: int, index: int, measured: Mapping[str, Quantity]
) -> Quantity:
    reserved = _reserved_bytes(step, assumed, counted, index, measured)
    outside = assumed.outside_bytes[index] + communicators * assumed.communicator_bytes[index]
    return derived(
        f"device memory, {_BANDS[index]}",
        reserved.value + outside,
        "bytes",
        "reserved + outside",
        assumed.source,
        reserved=reserved,
        outside=given("outside the allocator", outside, "bytes", assumed.source),
    )


_BANDS = ("low", "mid", "high")
