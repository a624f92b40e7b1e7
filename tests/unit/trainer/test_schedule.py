"""Learning-rate schedules: shape, ends, and that the length of a run does not matter before its decay."""

from __future__ import annotations

import itertools

import pytest

from tuitrain.trainer.schedule import Schedule


def make(kind: str, total: int = 100, warmup: int = 10, decay: float = 0.4, low: float = 0.1) -> Schedule:
    return Schedule(kind=kind, total_steps=total, warmup_steps=warmup, decay_frac=decay, min_lr_frac=low)


@pytest.mark.parametrize("kind", ["cosine", "wsd", "linear"])
def test_rises_to_one_and_falls_to_the_minimum(kind: str) -> None:
    rates = [make(kind)(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == 1.0
    assert max(rates) == 1.0
    assert rates[100] == pytest.approx(0.1)
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates[10:]))


def test_wsd_is_flat_until_its_decay_whatever_the_length() -> None:
    short, long = make("wsd", 100), make("wsd", 1000)
    assert short.decay_start == 60
    assert all(short(step) == long(step) == 1.0 for step in range(10, 60))
    assert short(80) == pytest.approx(0.1 + 0.9 * 0.5)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert make("wsd", warmup=0)(0) == 1.0


def test_a_run_of_one_step_has_a_rate() -> None:
    for kind in ("cosine", "wsd", "linear"):
        assert make(kind, total=1, warmup=0, decay=1.0, low=0.0)(0) == 1.0
