"""The length of a run measured in minutes, on machines that change their mind."""

from __future__ import annotations

import pytest

from tuitrain.trainer.pace import affordable_steps, is_due
from tuitrain.trainer.state import Position

DECAY_FRAC = 0.6


def lived(step_s, *, planned_steps, deadline_s):
    """(steps, seconds, adjustments) of a run whose step number n takes step_s(n) seconds."""
    position = Position(total_steps=planned_steps, deadline_s=deadline_s)
    changes = []
    while position.step < position.total_steps:
        position.train_s += step_s(position.step)
        position.step += 1
        if position.step < position.total_steps and is_due(position, round((1 - DECAY_FRAC) * position.total_steps)):
            total = affordable_steps(position)
            position.paced_step, position.paced_s = position.step, position.train_s
            changes.append((position.step, total - position.total_steps))
            position.total_steps = total
    return position.step, position.train_s, changes


@pytest.mark.parametrize(
    ("name", "step_s"),
    [
        ("as probed", lambda n: 0.1),
        ("twice as slow as probed", lambda n: 0.2),
        ("twice as fast", lambda n: 0.05),
        ("the first steps ten times as slow", lambda n: 1.0 if n < 20 else 0.1),
        ("a neighbour wakes up half-way", lambda n: 0.1 if n < 500 else 0.17),
        ("a neighbour leaves half-way", lambda n: 0.17 if n < 500 else 0.1),
    ],
)
def test_it_ends_when_it_was_asked_to(name, step_s):
    _, took_s, _ = lived(step_s, planned_steps=1000, deadline_s=100.0)
    assert took_s == pytest.approx(100.0, rel=0.01), name


def test_changes_die_out():
    """Once the neighbour has settled, the last look changes nothing to speak of."""
    _, _, changes = lived(lambda n: 0.1 if n < 500 else 0.17, planned_steps=1000, deadline_s=100.0)
    assert len(changes) > 4
    assert abs(changes[-1][1]) <= 1


def test_a_run_too_slow_for_its_minutes_still_ends():
    steps, _, _ = lived(lambda n: 60.0, planned_steps=1000, deadline_s=30.0)
    assert steps <= 1000 // 2


def test_a_given_length_is_left_alone():
    assert not is_due(Position(total_steps=100, step=99), 40)
