"""`tuitrain plan --hours 12 --gpu rtx-4090`: what is the best model this device can train in the time?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tuitrain_planners import Plan, PlanRequest

DEPTHS: Final = range(1, 65)
VOCAB_SIZE: Final = 32_768
SHOWN: Final = 5


def best_for_hours(request: PlanRequest, hours: float) -> tuple[Plan, tuple[str, ...]]:
    """The Llama-like depth with the lowest predicted loss, on data that never repeats; and why, beside the next best."""
    from tuitrain_planners import depth_candidates, fit_to_time

    budget = fit_to_time(
        hours * 3600,
        request,
        unique_tokens_by_vocab={VOCAB_SIZE: None},
        candidates=depth_candidates(DEPTHS, (VOCAB_SIZE,), request.shape.architecture),
    )
    return budget.best.plan, tuple(each.reason for each in budget.candidates[:SHOWN])
