"""A run measured in minutes keeps adjusting its number of steps to the pace really seen.

First when its decay is about to begin, then each time half of what was left is done: the pace is that of the steps since the
last time, so a slow start or a busy hour weighs no longer than it lasted. Every change is smaller than the one before, and
moves the learning rate by a few per cent.
"""

from __future__ import annotations

from tuitrain.trainer.state import Position


def is_due(position: Position, decay_start: int) -> bool:
    """Whether to look again. Decided by position alone, so that a resumed run looks where the uninterrupted one did."""
    if position.deadline_s is None:
        return False
    first = max(decay_start - 1, position.total_steps // 20)
    half_of_the_rest = (position.paced_step + position.total_steps + 1) // 2
    return position.step >= (half_of_the_rest if position.paced_step else first)


def seen(position: Position) -> tuple[int, float]:
    """Steps since the last time, and seconds per step over them, evaluations and saves included."""
    steps = position.step - position.paced_step
    return steps, (position.train_s - position.paced_s) / steps


def affordable_steps(position: Position) -> int:
    """Steps the run can have, at least one more than done."""
    assert position.deadline_s is not None
    _, step_s = seen(position)
    return max(position.step + 1, position.step + int((position.deadline_s - position.train_s) / step_s))
