"""Guards: NaN always trips, spikes trip, ordinary noise does not, and what tripped never becomes the norm."""

from __future__ import annotations

import math
import random

import pytest

from tuitrain.trainer.guards import MIN_HISTORY, StepGuard


def warmed(window: int = 64) -> StepGuard:
    guard = StepGuard(sigma=6.0, window=window)
    generator = random.Random(0)
    for _ in range(window):
        assert guard.judge(3.0 + generator.gauss(0, 0.1), 1.0 + generator.gauss(0, 0.1)) is None
    return guard


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("steps_before", [0, 64])
def test_non_finite_trips_from_the_first_step(value: float, steps_before: int) -> None:
    guard = warmed() if steps_before else StepGuard(sigma=6.0, window=64)
    trip = guard.judge(value, 1.0)
    assert trip is not None
    assert trip.reason == "non_finite_loss"
    trip = guard.judge(3.0, value)
    assert trip is not None
    assert trip.reason == "non_finite_grad"
    assert guard.consecutive == 2


def test_nan_does_not_reset_the_count() -> None:
    guard = warmed()
    for expected in (1, 2, 3):
        assert guard.judge(math.nan, 1.0) is not None
        assert guard.consecutive == expected
    assert guard.judge(3.0, 1.0) is None
    assert guard.consecutive == 0


def test_spikes_of_loss_and_norm_trip() -> None:
    guard = warmed()
    loss, norm = guard.judge(6.0, 1.0), guard.judge(3.0, 40.0)
    assert loss is not None
    assert loss.reason == "loss_spike"
    assert loss.value > loss.limit > 3.0
    assert norm is not None
    assert norm.reason == "grad_spike"


def test_a_spike_does_not_raise_the_limit() -> None:
    guard = warmed()
    for _ in range(50):
        assert guard.judge(30.0, 1.0) is not None


def test_a_falling_loss_never_trips() -> None:
    guard = StepGuard(sigma=6.0, window=64)
    generator = random.Random(1)
    for step in range(500):
        assert (
            guard.judge(2 + 8 * math.exp(-step / 60) + abs(generator.gauss(0, 0.05)), 1 + abs(generator.gauss(0, 0.2))) is None
        )


def test_a_flat_curve_tolerates_small_noise() -> None:
    guard = StepGuard(sigma=6.0, window=32)
    for _ in range(32):
        guard.judge(1.0, 1.0)
    assert guard.judge(1.05, 1.05) is None


def test_spikes_are_not_judged_without_history() -> None:
    guard = StepGuard(sigma=6.0, window=64)
    for _ in range(MIN_HISTORY - 1):
        assert guard.judge(1.0, 1.0) is None
    assert guard.judge(1000.0, 1000.0) is None


def test_a_restored_guard_judges_the_same() -> None:
    guard = warmed()
    other = StepGuard(sigma=6.0, window=64)
    other.load_state_dict(guard.state_dict())
    for loss in (3.1, 6.0, 3.0):
        assert guard.judge(loss, 1.0) == other.judge(loss, 1.0)
