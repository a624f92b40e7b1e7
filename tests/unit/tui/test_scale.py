"""Axes: round ticks, ends that hold the data, a log axis that says why it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain.tui.render.scale import KINDS, linear_ticks, log_ticks, nice_step, tick_labels, time_label, time_ticks, y_scale


@pytest.mark.parametrize(("span", "parts", "step"), [(10, 5, 2), (1, 4, 0.5), (0.03, 4, 0.01), (1200, 6, 200), (7, 7, 1)])
def test_steps_are_one_two_or_five(span, parts, step):
    assert nice_step(span, parts) == pytest.approx(step)


def test_log_ticks_of_a_loss():
    assert log_ticks(2, 10, 4) == [2, 3, 5, 7, 10]
    assert log_ticks(2, 10, 2) == [2, 5, 10]
    assert log_ticks(1, 1e6, 7) == [1, 10, 100, 1e3, 1e4, 1e5, 1e6]


def test_log_is_refused_with_the_reason():
    scale = y_scale("log", np.array([0.0, 1.0, 2.0]))
    assert scale.kind == "linear"
    assert scale.refused == "log needs values > 0"
    assert not y_scale("log", np.array([0.1, 2.0])).refused


def test_robust_cuts_outliers_but_never_the_plan():
    values = np.concatenate([np.linspace(1, 2, 1000), [500.0]])
    assert y_scale("robust", values).high < 3
    assert y_scale("robust", values, always=[9.0]).high >= 9
    assert y_scale("linear", values).high >= 500


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80, deadline=None)
@given(values=st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=50))
def test_the_axis_holds_its_data(kind, values):
    data = np.array(values)
    scale = y_scale(kind, data)
    assert scale.high > scale.low
    if kind != "robust":
        units = scale.unit(data)
        assert (units > -1e-6).all(), f"{data[units < 0]} below {scale.low}"
        assert (units < 1 + 1e-6).all(), f"{data[units > 1]} above {scale.high}"
    assert all(np.isfinite(scale.ticks(4)))


def test_nothing_to_show_still_has_an_axis():
    scale = y_scale("log", np.array([np.nan]))
    assert (scale.low, scale.high) == (0, 1)


def test_a_constant_gets_room():
    scale = y_scale("linear", np.array([3.0, 3.0]))
    assert scale.low < 3 < scale.high


def test_labels_share_their_decimals():
    assert tick_labels([1.0, 1.5, 2.0]) == ["1.0", "1.5", "2.0"]
    assert tick_labels([10_000.0, 12_500.0]) == ["10k", "12.5k"]
    assert tick_labels([0.0, 1e-3, 2e-3]) == ["0", "1e-3", "2e-3"]
    assert tick_labels([]) == []


def test_time_has_the_steps_of_a_clock():
    assert time_ticks(0, 600, 5) == [0, 120, 240, 360, 480, 600]
    assert time_ticks(0, 7200, 4) == [0, 1800, 3600, 5400, 7200]
    assert [time_label(each) for each in (0, 30, 300, 5400, 172800)] == ["0", "30s", "5m", "1h30", "2d"]


def test_linear_ticks_stay_inside():
    assert linear_ticks(0.3, 2.1, 4) == pytest.approx([0.5, 1.0, 1.5, 2.0])
