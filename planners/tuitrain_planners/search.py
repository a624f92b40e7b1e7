"""search(request, global_batch) -> Found: the layouts that fit, fastest first, and why the others were turned down.

Every layout is looked at: its memory comes from tables that equal the plan's own figures to the byte (`search_memory`), and its
step time from the plan's time model, which is asked only while a layout could still be among the best (`search_time`). What is
shown of the layouts kept is computed by the plan itself. Of layouts that are equally fast the one with fewer moving parts comes
first, then the one that needs less memory.

Validity: as far as memory and time models reach; the loss head's own time is not modelled, so that heads tie.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from tuitrain_planners.errors import PlanError
from tuitrain_planners.grid import memory_of
from tuitrain_planners.memory.device import Verdict
from tuitrain_planners.quantity import Quantity
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.search_layouts import OPEN, Bounds, Layout, Ruled, candidates
from tuitrain_planners.search_memory import HIGH, MID, MemoryTable
from tuitrain_planners.search_time import TimeTable
from tuitrain_planners.throughput import throughput
from tuitrain_planners.units import format_bytes

SHOWN: Final = 8
NEAREST_ASKED: Final = 64
"""Of layouts that do not fit, how many of the nearest are asked whether they would be faster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """A layout that fits, with the plan's own figures."""

    layout: Layout
    step_s: Quantity
    tokens_per_s: Quantity
    mfu: Quantity | None
    """None where the device's peak is not known."""
    device_bytes: Quantity
    """Middle estimate of one device's memory."""
    high_bytes: Quantity
    phase: str
    """Which phase is the peak."""
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """What was not chosen: a layout that needs too much memory, or degrees that do not divide."""

    reason: str
    layout: Layout | None = None
    """None: never a layout."""
    phase: str | None = None
    missing_bytes: float = 0.0
    """Middle estimate over the device's memory; of a tight layout the high estimate over it."""
    step_s: float | None = None
    """What a step would take if it fitted."""

    def __str__(self) -> str:
        if self.layout is None:
            return self.reason
        return f"{self.layout}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The answer of a search."""

    best: tuple[Ranked, ...]
    """Fastest first. When nothing fits for certain, what is tight; empty when nothing does."""
    rejected: tuple[Rejected, ...]
    """Layouts that do not fit, those first that would be faster, nearest first; then what was ruled out by divisibility."""
    counted: int
    """Layouts whose memory was computed: all that multiply up."""
    fitting: int
    """Of these, how many fit even by the high estimate."""
    tight: int
    """... and how many by the middle one only."""
    global_batch: int
    """Sequences per optimizer step."""


_Entry: TypeAlias = tuple[float, tuple[int, ...], float, int, Layout]
"""Seconds or their bound, moving parts and which choice of precision, bytes; a number, so that layouts are never compared."""


@dataclass(slots=True)
class _Sorted:
    """Layouts by verdict."""

    fits: list[_Entry] = field(default_factory=list)
    tight: list[_Entry] = field(default_factory=list)
    near: dict[tuple[object, ...], tuple[float, Layout, str, bool]] = field(default_factory=dict)
    """The nearest miss of every mesh, stage and recomputation: bytes missing, layout, phase, whether it is only tight."""
    counted: int = 0


def search(request: PlanRequest, global_batch: int | None = None, *, bounds: Bounds = OPEN, keep: int = SHOWN) -> Found:
    """Layouts of the request's devices at `global_batch` sequences (default: its own). PlanError when none divides."""
    if global_batch is None:
        global_batch = request.mesh.dp * request.micro_batch * request.grad_accum
    ruled, times, devices = Ruled(), TimeTable(request), request.mesh.devices
    preferred = bounds.precisions or (request.precision,)
    made = _sort(request, candidates(request, global_batch, bounds, ruled), times, preferred)
    if not made.counted:
        why = "; ".join(ruled.reasons) or "no degree was left open"
        raise PlanError(
            f"no layout of {devices} devices at {global_batch} sequences per step: {why}",
            f"a global batch of {devices * max(1, round(global_batch / devices))} divides by all devices",
        )
    best = [_ranked(request, layout) for layout in _fastest(made.fits or made.tight, times, keep)]
    limit = best[0].step_s.value if best else None
    return Found(
        best=tuple(best),
        rejected=(*_nearest(made, times, limit, keep), *(Rejected(reason=each) for each in ruled.reasons)),
        counted=made.counted,
        fitting=len(made.fits),
        tight=len(made.tight),
        global_batch=global_batch,
    )


def _sort(request: PlanRequest, layouts: Iterable[Layout], times: TimeTable, preferred: tuple[str, ...]) -> _Sorted:
    """Memory and bound of every layout."""
    memory, made, capacity = MemoryTable(request), _Sorted(), request.hardware.memory_bytes
    mesh, communicators = None, 0
    for index, layout in enumerate(layouts):
        if layout.mesh is not mesh:
            mesh, communicators = layout.mesh, layout.mesh.communicators
        made.counted += 1
        peak = memory.peak(layout)
        middle, high = (memory.device_bytes(peak, communicators, band) for band in (MID, HIGH))
        tight = middle <= capacity < high
        if middle <= capacity:
            parts = (*layout.moving_parts, preferred.index(layout.precision))
            (made.tight if tight else made.fits).append((times.at_least_s(layout), parts, middle, index, layout))
        if high <= capacity:
            continue
        missing = (high if tight else middle) - capacity
        key = (mesh.tp, mesh.pp, mesh.cp, mesh.ep, layout.zero, layout.recompute)
        if key not in made.near or missing < made.near[key][0]:
            made.near[key] = missing, layout, peak.phase, tight
    return made


def _fastest(bounded: list[_Entry], times: TimeTable, keep: int) -> list[Layout]:
    """The `keep` best by (time, moving parts, memory), asking in the order of bounds until no bound is below the worst kept.

    Of layouts that differ in loss head or precision alone and take equally long, only the first is kept.
    """
    heap, kept = bounded.copy(), list[_Entry]()
    heapq.heapify(heap)
    while heap and (len(kept) < keep or heap[0] < kept[-1]):
        _, parts, middle, index, layout = heapq.heappop(heap)
        entry = (times.step_s(layout), parts, middle, index, layout)
        twin = next((each for each in kept if each[0] == entry[0] and _same_but_bytes(each[-1], layout)), None)
        if twin is not None and twin < entry:
            continue
        kept = sorted([*(each for each in kept if each is not twin), entry])[:keep]
    return [each[-1] for each in kept]


def _same_but_bytes(one: Layout, other: Layout) -> bool:
    return one._replace(loss_head="", precision="") == other._replace(loss_head="", precision="")


def _ranked(request: PlanRequest, layout: Layout) -> Ranked:
    asked = layout.of(request)
    memory, speed = memory_of(asked), throughput(asked, tokens_per_step=asked.tokens_per_step(), steps=1)
    return Ranked(
        layout=layout,
        step_s=speed.step_s,
        tokens_per_s=speed.tokens_per_s,
        mfu=speed.mfu,
        device_bytes=memory.device_bytes.mid,
        high_bytes=memory.device_bytes.high,
        phase=memory.step.peak_phase.name,
        verdict=memory.verdict,
    )


def _nearest(made: _Sorted, times: TimeTable, limit: float | None, keep: int) -> list[Rejected]:
    """The nearest misses: first those that would be faster than the best, then the others."""
    faster: list[Rejected] = []
    others: list[Rejected] = []
    for missing, layout, phase, tight in sorted(made.near.values(), key=lambda each: each[0])[:NEAREST_ASKED]:
        each = Rejected(
            reason=_reason(missing, phase, tight=tight),
            layout=layout,
            phase=phase,
            missing_bytes=missing,
            step_s=times.step_s(layout),
        )
        (faster if limit is not None and times.step_s(layout) < limit else others).append(each)
    return [*faster, *others][:keep]


def _reason(missing: float, phase: str, *, tight: bool) -> str:
    amount, where = format_bytes(missing), f"in the {phase.replace('_', ' ')} phase"
    return f"tight, up to {amount} over {where}" if tight else f"out of memory by {amount} {where}"
