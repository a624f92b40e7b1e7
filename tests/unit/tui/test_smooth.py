"""The block-wise average equals the loop everybody else writes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain.tui.render.smooth import LEVELS, Smoother


def reference(values, weight):
    """TensorBoard's loop: last = last * w + (1 - w) * y, divided by 1 - w^n; NaN leaves the state alone."""
    last, seen, out = 0.0, 0, []
    for value in values:
        if not np.isfinite(value):
            out.append(np.nan)
            continue
        last = last * weight + (1 - weight) * value
        seen += 1
        out.append(last / (1 - weight**seen))
    return np.array(out)


@pytest.mark.parametrize("weight", LEVELS[1:])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), length=st.integers(1, 700), cuts=st.lists(st.integers(0, 700), max_size=4))
def test_growing_series_equals_the_reference_loop(weight, seed, length, cuts):
    random = np.random.default_rng(seed)
    values = random.normal(2, 1, length)
    values[random.random(length) < 0.05] = np.nan
    smoother = Smoother()
    for cut in sorted({min(cut, length) for cut in cuts} | {length}):
        got = smoother.update(values[:cut], weight)
    np.testing.assert_allclose(got, reference(values, weight), rtol=1e-9, equal_nan=True)


def test_a_new_epoch_starts_over():
    smoother = Smoother()
    smoother.update(np.arange(500.0), 0.9, epoch=0)
    values = np.linspace(5, 1, 600)
    np.testing.assert_allclose(smoother.update(values, 0.9, epoch=1), reference(values, 0.9), rtol=1e-9)


def test_a_shorter_series_starts_over():
    smoother = Smoother()
    smoother.update(np.arange(500.0), 0.9)
    values = np.linspace(5, 1, 100)
    np.testing.assert_allclose(smoother.update(values, 0.9), reference(values, 0.9), rtol=1e-9)


def test_no_smoothing_is_the_series_itself():
    values = np.arange(5.0)
    assert Smoother().update(values, 0.0) is values


def test_a_constant_stays_what_it_is():
    np.testing.assert_allclose(Smoother().update(np.full(1000, 3.0), 0.98), 3.0, rtol=1e-12)
