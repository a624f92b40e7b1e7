"""The best model for a wall-clock budget: given minutes, a machine and a corpus, how deep, which vocabulary, how many tokens.

Every candidate gets all the time. Time per token (FLOP / measured rate at its width) says how many tokens that is; repetition
discounts them (Muennighoff et al. 2023); the loss law ranks what is left; memory rules out what does not fit. This is
compute-optimal allocation (Hoffmann et al. 2022) with the machine's real speed in place of a constant one.
Only training steps count: subtract evaluation, start-up and saving from the budget first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners.dial import by_depth
from tuitrain_planners.errors import PlanError
from tuitrain_planners.plan import Plan, plan
from tuitrain_planners.quantity import Quantity, derived, given
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.throughput import step_seconds
from tuitrain_planners.units import format_bytes, format_count, format_duration, format_value

DEFAULT_DEPTHS: Final = tuple(range(1, 33))


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One model, and the plan of what the time budget makes of it."""

    plan: Plan
    """Its `tokens` are what the time affords, in whole steps (one step, when it affords none)."""
    reason: str
    """Why it wins, or what it loses to the best; for a rejected one, why it cannot be."""

    @property
    def name(self) -> str:
        """The shape's name."""
        return self.plan.request.shape.name

    @property
    def epochs(self) -> float:
        """Passes over the data; 0 when the data is endless."""
        unique = self.plan.request.unique_tokens
        return self.plan.tokens.value / unique if unique else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The answer: candidates by predicted loss, best first, and those that cannot be."""

    seconds: float
    candidates: tuple[Candidate, ...]
    rejected: tuple[Candidate, ...]
    warnings: tuple[str, ...]

    @property
    def best(self) -> Candidate:
        """The lowest predicted loss; the smaller model when two are equal."""
        return self.candidates[0]


def tokens_for(request: PlanRequest, seconds: float) -> Quantity:
    """Tokens the time affords at the middle rate, rounded down to whole steps. The request's own length plays no part."""
    step, per_step, time = step_seconds(request), request.tokens_per_step(), given("time budget", seconds, "s")
    value = int(seconds / step.value) * per_step.value
    return derived(
        "affordable tokens", value, "tokens", "floor(time / step) * per_step", time=time, step=step, per_step=per_step
    )


def depth_candidates(
    depths: Iterable[int], vocab_sizes: Iterable[int], architecture: str = "nanochat"
) -> tuple[ModelShape, ...]:
    """Every depth with every vocabulary; names tell the vocabulary when there are several."""
    shapes = [by_depth(depth, vocab, architecture) for depth in depths for vocab in vocab_sizes]
    if len({shape.vocab_size for shape in shapes}) < 2:
        return tuple(shapes)
    return tuple(replace(shape, name=f"{shape.name}-v{shape.vocab_size}") for shape in shapes)


def fit_to_time(
    seconds: float,
    request: PlanRequest,
    *,
    unique_tokens_by_vocab: Mapping[int, float | None],
    corpus_bytes: float | None = None,
    candidates: Iterable[ModelShape] | None = None,
) -> Budget:
    """Rank candidates by the loss the request's law predicts within `seconds` on the request's hardware.

    The request says how to train; its shape and length are what is searched for. Candidates default to DEFAULT_DEPTHS of its
    architecture with every vocabulary of `unique_tokens_by_vocab`: how many tokens the corpus is by vocabulary size, None for
    endless data. `corpus_bytes` turns tokens into bytes for a law that counts bytes. When nothing fits, a PlanError of kind
    "fit" says what came closest.
    """
    if not seconds > 0:
        raise PlanError(f"the time budget is {seconds} s", "give a positive time, such as 30min")
    if candidates is None:
        candidates = depth_candidates(DEFAULT_DEPTHS, unique_tokens_by_vocab, request.shape.architecture)
    shapes = tuple(candidates)
    warnings = _check_law(request, shapes, unique_tokens_by_vocab, corpus_bytes)
    judged = []
    for shape in shapes:
        unique = unique_tokens_by_vocab[shape.vocab_size]
        each = None if corpus_bytes is None or unique is None else corpus_bytes / unique
        judged.append(
            _judge(replace(request, shape=shape, unique_tokens=unique, bytes_per_token=each, tokens=None, steps=None), seconds)
        )
    ranked = sorted(
        (each for each in judged if not each.reason), key=lambda each: (each.plan.loss.value, each.plan.parameters.value)
    )
    rejected = tuple(each for each in judged if each.reason)
    if not ranked:
        smallest = min(rejected, key=lambda each: each.plan.memory.device_bytes.mid.value)
        raise PlanError(
            f"no model fits into {format_duration(seconds)} and {format_bytes(request.hardware.memory_bytes)}: "
            f"the smallest, {smallest.name}, {smallest.reason}",
            "allow more time or memory, or a smaller batch",
            kind="fit",
        )
    explained = tuple(replace(each, reason=_reason(each, ranked[0])) for each in ranked)
    return Budget(seconds=seconds, candidates=explained, rejected=rejected, warnings=(*warnings, *ranked[0].plan.warnings))


def _check_law(
    request: PlanRequest, shapes: tuple[ModelShape, ...], unique: Mapping[int, float | None], corpus_bytes: float | None
) -> list[str]:
    """Whether the law can compare these candidates; warnings where it can only roughly."""
    law, vocabularies = request.law, {shape.vocab_size for shape in shapes}
    if not shapes:
        raise PlanError("there are no candidates to choose from", "give at least one depth and one vocabulary")
    if missing := vocabularies - set(unique):
        names = ", ".join(map(str, sorted(missing)))
        raise PlanError(f"no token count for vocabulary {names}", "say how many tokens the corpus is with it")
    if law.data_unit == "bytes" and (corpus_bytes is None or any(unique[each] is None for each in vocabularies)):
        raise PlanError(f"the law {law.name!r} counts bytes", "give corpus_bytes, and the corpus's tokens for every vocabulary")
    if len(vocabularies) == 1:
        return []
    if law.unit != "bits/byte":
        raise PlanError(
            f"the law {law.name!r} predicts {law.unit}, which cannot compare {len(vocabularies)} vocabularies",
            "use a law in bits/byte, or one vocabulary",
        )
    return (
        []
        if law.data_unit == "bytes"
        else [f"loss: the law {law.name!r} counts tokens, so it compares vocabularies only roughly"]
    )


def _judge(request: PlanRequest, seconds: float) -> Candidate:
    """One candidate's plan; with a reason already when it cannot be."""
    tokens = tokens_for(request, seconds).value
    per_step = request.tokens_per_step().value
    planned = plan(replace(request, tokens=tokens or per_step))
    memory, reason = planned.memory, ""
    if memory.verdict == "oom":
        need, phase = format_bytes(memory.device_bytes.mid.value), memory.step.peak_phase.name
        reason = f"needs {need} of {format_bytes(memory.capacity_bytes)} in {phase}"
    elif not tokens:
        reason = f"does not finish one step of {format_count(per_step)} tokens in {format_duration(seconds)}"
    return Candidate(plan=planned, reason=reason)


def _reason(candidate: Candidate, best: Candidate) -> str:
    """In words: the loss, and whether parameters or data make it worse than the best."""
    mine, its = candidate.plan, best.plan
    parameters = f"{format_count(mine.parameters.value)} parameters"
    tokens = f"{format_value(mine.tokens.value, 'tokens')}, {mine.tokens_per_parameter.value:.3g} per parameter"
    if candidate.epochs > 1:
        tokens += f", {candidate.epochs:.2g} passes over the data"
    if candidate is best:
        return f"{candidate.name} wins: {mine.loss.value:.4f} {mine.loss.unit} from {parameters} and {tokens}"
    worse_model, worse_data = (
        mine.loss.term(term).value - its.loss.term(term).value for term in ("finite model", "finite data")
    )
    why = f"{parameters} are too few for {tokens}" if worse_model >= worse_data else f"only {tokens}"
    return f"{candidate.name} loses: {mine.loss.value:.4f} against {its.loss.value:.4f} because {why}"
