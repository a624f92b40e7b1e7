"""The cheapest change that makes a plan fit: which layouts are tried, which of them fits, what it costs in step time.

The global batch never changes: a smaller micro-batch is paid with more accumulation. Among layouts that fit the shortest step
wins; where steps are equally long (within 2 %), fewer changes, then the change that is easier to undo (see `_singles`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners import Adapter, Plan, PlanError, PlanRequest, format_bytes, plan

NEXT_RECOMPUTE: Final = {"none": ("selective", "full"), "selective": ("full",), "full": ()}
WHOLE_LOGITS: Final = ("plain", "bf16")
"""Loss heads that hold all logits at once."""
EQUAL_FRAC: Final = 0.02
"""Step times this close count as equal: the planner's own error is larger."""
_RANK: Final = {"fits": 0, "tight": 1, "oom": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    """A layout that needs less, and what it changes."""

    plan: Plan
    """The plan after it."""
    changes: tuple[str, ...]
    """In words: `micro-batch 4 -> 1, accumulate 1 -> 4`."""
    saved_bytes: float
    """Of the device's memory, middle of the band."""
    step_frac: float
    """Step time after over before, less 1: +0.02 is 2 % slower."""

    @property
    def words(self) -> str:
        """`micro-batch 4 -> 1, accumulate 1 -> 4: -31 GiB, +2 % time`."""
        time = "same time by the plan" if abs(self.step_frac) < 0.005 else f"{100 * self.step_frac:+.0f} % time"
        return f"{', '.join(self.changes)}: -{format_bytes(self.saved_bytes)}, {time}"


@dataclass(frozen=True, kw_only=True, slots=True)
class NoFix:
    """Nothing that was tried makes it fit."""

    reason: str
    """For people, with the bytes that are missing in the smallest layout."""


def cheapest_fix(before: Plan) -> Fix | NoFix:
    """The cheapest layout that fits better than this plan: one that fits; failing that, one that is tight.

    Costs up to about 40 plans (tens of milliseconds). Raises nothing: layouts the planner refuses are passed over.
    """
    if before.memory.verdict == "fits":
        return NoFix(reason="it fits already")
    tried: list[tuple[Plan, tuple[str, ...]]] = []
    for request, changes in _singles(before.request):
        if (made := _try(request)) is not None:
            tried.append((made, changes))
    combined = _combined(before.request)
    tried += combined
    for wanted in ("fits", "tight"):
        if _RANK[wanted] >= _RANK[before.memory.verdict]:
            break
        good = [each for each in tried if each[0].memory.verdict == wanted]
        if good:
            made, changes = min(good, key=lambda each: (round(_step_s(each[0]) / _step_s(before) / EQUAL_FRAC), len(each[1])))
            return _fix(before, made, changes)
    smallest = min((each[0] for each in tried), key=_device_bytes, default=before)
    return NoFix(reason=_missing(smallest) + _by_adapter(smallest.request))


def _missing(smallest: Plan) -> str:
    over = _device_bytes(smallest) - smallest.memory.capacity_bytes
    if over <= 0:
        return f"no layout that was tried leaves more room; the smallest needs {format_bytes(_device_bytes(smallest))}"
    devices = "" if smallest.request.mesh.devices > 1 else ", several devices under ZeRO"
    return f"the smallest layout still lacks {format_bytes(over)}: a smaller model or sequence{devices}, or a larger device"


def _by_adapter(request: PlanRequest) -> str:
    """That an adapter would fit; it is told, never chosen: it trains something else."""
    if request.adapter is not None:
        return ""
    for method, adapter in (("lora", Adapter()), ("qlora", Adapter(base="nf4-dq"))):
        least = replace(request, adapter=adapter, micro_batch=1, recompute="full", tokens=None, steps=None)
        made = _try(least)
        if made is not None and made.memory.verdict == "fits":
            return f"; fine-tuning it by method {method} would fit"
    return ""


def _fix(before: Plan, after: Plan, changes: tuple[str, ...]) -> Fix:
    return Fix(
        plan=after,
        changes=changes,
        saved_bytes=_device_bytes(before) - _device_bytes(after),
        step_frac=_step_s(after) / _step_s(before) - 1,
    )


def _singles(request: PlanRequest) -> Iterator[tuple[PlanRequest, tuple[str, ...]]]:
    """One change at a time, the easiest to undo first."""
    for kind in NEXT_RECOMPUTE[request.recompute][:1]:
        if kind == "selective":
            yield _recompute(request, kind)
    for divisor in _divisors(request.micro_batch):
        yield _micro_batch(request, divisor)
    if request.loss_head in WHOLE_LOGITS:
        yield replace(request, loss_head="chunked"), (f"loss head {request.loss_head} -> chunked",)
    if request.mesh.state_ranks > 1:
        for stage in range(request.zero + 1, 4):
            yield _zero(request, stage)
    if request.recompute != "full":
        yield _recompute(request, "full")
    if request.adapter is not None and request.adapter.base in ("fp32", "16bit"):
        yield replace(request, adapter=replace(request.adapter, base="nf4-dq")), ("method lora -> qlora",)


def _combined(request: PlanRequest) -> list[tuple[Plan, tuple[str, ...]]]:
    """Change upon change until it fits, then without those of them that were not needed."""
    steps: list[PlanRequest] = [request]
    while (following := _one_more(steps[-1])) is not None:
        steps.append(following)
        made = _try(following)
        if made is not None and made.memory.verdict == "fits":
            break
    last = _pruned(request, steps[-1])
    made = _try(last)
    return [] if made is None or last == request else [(made, tuple(_difference(request, last)))]


def _one_more(request: PlanRequest) -> PlanRequest | None:
    """The next change of the cumulative search; None when there is none left."""
    if request.recompute == "none":
        return replace(request, recompute="selective")
    if request.micro_batch > 1:
        return _micro_batch(request, next(_divisors(request.micro_batch)))[0]
    if request.loss_head in WHOLE_LOGITS:
        return replace(request, loss_head="chunked")
    if request.mesh.state_ranks > 1 and request.zero < 3:
        return replace(request, zero=request.zero + 1)
    if request.recompute == "selective":
        return replace(request, recompute="full")
    if request.adapter is not None and request.adapter.base in ("fp32", "16bit"):
        return replace(request, adapter=replace(request.adapter, base="nf4-dq"))
    return None


def _pruned(before: PlanRequest, after: PlanRequest) -> PlanRequest:
    """Take changes back, the most expensive first, as long as it goes on fitting."""
    candidates = (
        {"adapter": before.adapter}, {"recompute": before.recompute}, {"zero": before.zero}, {"loss_head": before.loss_head},
        {"micro_batch": before.micro_batch, "grad_accum": before.grad_accum},
    )  # fmt: skip
    made = _try(after)
    rank = 2 if made is None else _RANK[made.memory.verdict]
    for change in candidates:
        less = replace(after, **change)
        made = _try(less)
        if made is not None and _RANK[made.memory.verdict] <= rank and made.memory.verdict != "oom":
            after = less
    return after


def _difference(before: PlanRequest, after: PlanRequest) -> Iterator[str]:
    if after.recompute != before.recompute:
        yield f"recompute {before.recompute} -> {after.recompute}"
    if after.micro_batch != before.micro_batch:
        yield _micro_batch_words(before, after)
    if after.loss_head != before.loss_head:
        yield f"loss head {before.loss_head} -> {after.loss_head}"
    if after.zero != before.zero:
        yield f"ZeRO {before.zero} -> {after.zero}"
    if after.adapter != before.adapter:
        yield "method lora -> qlora"


def _recompute(request: PlanRequest, kind: str) -> tuple[PlanRequest, tuple[str, ...]]:
    return replace(request, recompute=kind), (f"recompute {request.recompute} -> {kind}",)


def _zero(request: PlanRequest, stage: int) -> tuple[PlanRequest, tuple[str, ...]]:
    return replace(request, zero=stage), (f"ZeRO {request.zero} -> {stage}",)


def _micro_batch(request: PlanRequest, size: int) -> tuple[PlanRequest, tuple[str, ...]]:
    """Fewer sequences at a time, more of them in a row."""
    after = replace(request, micro_batch=size, grad_accum=request.grad_accum * request.micro_batch // size)
    return after, (_micro_batch_words(request, after),)


def _micro_batch_words(before: PlanRequest, after: PlanRequest) -> str:
    return (
        f"micro-batch {before.micro_batch} -> {after.micro_batch}, "
        f"accumulate {before.grad_accum} -> {after.grad_accum}"
    )  # fmt: skip


def _divisors(size: int) -> Iterator[int]:
    """Proper divisors, the largest first."""
    return (each for each in range(size // 2, 0, -1) if size % each == 0)


def _try(request: PlanRequest) -> Plan | None:
    try:
        return plan(request)
    except PlanError:
        return None


def _step_s(made: Plan) -> float:
    return made.throughput.step_s.value


def _device_bytes(made: Plan) -> float:
    return made.memory.device_bytes.mid.value
