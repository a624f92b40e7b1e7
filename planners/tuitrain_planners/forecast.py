"""What a run will reach: the loss at its end, the curve on the way, the tokens it should have - by the request's law."""

from __future__ import annotations

import math
from typing import Final

from tuitrain_planners.quantity import Quantity, derived, given
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.scaling import effective_data, optimal_tokens, predicted_loss

CURVE_POINTS: Final = 48
FINE_TUNING_TOKENS: Final = 10_000_000


def optimal_length(request: PlanRequest, parameters: Quantity) -> Quantity:
    """Compute-optimal tokens, whatever unit the law counts in."""
    data, each = optimal_tokens(request.law, parameters.value), request.data_per_token
    if request.law.data_unit == "tokens":
        return data
    return derived(f"optimal tokens ({request.law.name})", data.value / each, "tokens", "data / each", data=data, each=each)


def planned_length(request: PlanRequest, tokens_per_step: Quantity, optimal: Quantity) -> Quantity:
    """Tokens of the run: as asked for, else the optimal ones."""
    if request.tokens is not None:
        return given("planned tokens", request.tokens, "tokens")
    if request.steps is not None:
        value = request.steps * tokens_per_step.value
        return derived("planned tokens", value, "tokens", "steps * per_step", steps=request.steps, per_step=tokens_per_step)
    if request.adapter is not None or request.reference != "none":
        source = "assumption: no length was given; some ten thousand examples"
        return given("planned tokens", max(FINE_TUNING_TOKENS, tokens_per_step.value), "tokens", source)
    source = "assumption: no length was given, so the compute-optimal one"
    value = max(optimal.value, tokens_per_step.value)
    return derived(
        "planned tokens", value, "tokens", "max(optimal, per_step)", source, optimal=optimal, per_step=tokens_per_step
    )


def final_loss(request: PlanRequest, parameters: Quantity, tokens: Quantity) -> Quantity:
    """The law's prediction after the whole run; repeated data is discounted."""
    worth = effective_data(tokens, request.unique_tokens)
    if request.law.data_unit == "bytes":
        each = request.data_per_token
        worth = derived("effective bytes", worth.value * each, "bytes", "tokens * each", tokens=worth, each=each)
    return predicted_loss(request.law, parameters.value, worth)


def loss_curve(request: PlanRequest, parameters: Quantity, tokens: Quantity, steps: int) -> tuple[tuple[int, float], ...]:
    """(step, loss) in geometric spacing: the law at every shorter length, never above guessing, where it means nothing.

    Each point is the end of a run of its own. Until its learning rate decays, one long run lies above this curve.
    """
    ceiling, each = guessing_loss(request), request.data_per_token
    marks = sorted({max(1, round(steps ** (index / (CURVE_POINTS - 1)))) for index in range(CURVE_POINTS)})
    curve = []
    for mark in marks:
        worth = effective_data(given("tokens", tokens.value * mark / steps, "tokens"), request.unique_tokens)
        curve.append((mark, min(ceiling, request.law.loss(parameters.value, worth.value * each))))
    return tuple(curve)


def guessing_loss(request: PlanRequest) -> float:
    """Loss of giving every token the same probability, in the law's unit; infinite when it cannot be told."""
    if request.law.unit == "nats/token":
        return math.log(request.shape.vocab_size)
    return math.inf if request.bytes_per_token is None else math.log2(request.shape.vocab_size) / request.bytes_per_token
