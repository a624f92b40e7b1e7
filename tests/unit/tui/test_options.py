"""Zooming, panning and pointing never leave the run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain.tui.render.options import MIN_WINDOW_STEPS, ChartOptions

LIMITS = (0.0, 20_000.0)


@given(st.lists(st.sampled_from(["in", "out", "left", "right"]), max_size=30), st.floats(0, 20_000) | st.none())
def test_windows_stay_within_the_run(moves, cursor):
    options, window = ChartOptions(cursor_step=cursor), LIMITS
    for move in moves:
        if move in ("in", "out"):
            options = options.zoom(window, 1 if move == "in" else -1, LIMITS)
        else:
            options = options.pan(window, 1 if move == "right" else -1, LIMITS)
        window = options.window
        assert LIMITS[0] <= window[0] < window[1] <= LIMITS[1]
        assert window[1] - window[0] >= min(MIN_WINDOW_STEPS, LIMITS[1]) - 1e-6
        assert options.range == "frozen"


def test_zoom_keeps_the_cursor_where_it_is():
    options = ChartOptions(cursor_step=5000.0).zoom(LIMITS, 1, LIMITS)
    low, high = options.window
    assert (5000 - low) / (high - low) == pytest.approx(0.25)


def test_the_cursor_appears_at_the_newest_step_and_stops_at_the_ends():
    options = ChartOptions().move_cursor(-5, (1, 100))
    assert options.cursor_step == 100
    assert options.move_cursor(-500, (1, 100)).cursor_step == 1
    assert options.move_cursor(500, (1, 100)).cursor_step == 100


def test_ranges_and_axes_go_round():
    options = ChartOptions()
    seen = [options.range]
    for _ in range(3):
        options = options.next_range()
        seen.append(options.range)
    assert seen == ["plan", "all", "tail", "plan"]
    assert options.freeze((1, 2)).next_range().window is None
    assert ChartOptions().next_axis().next_axis().next_axis() == ChartOptions()


def test_smoothing_stops_at_its_ends():
    assert ChartOptions(smoothing=0.99).smoother(1).smoothing == 0.99
    assert ChartOptions(smoothing=0.0).smoother(-1).smoothing == 0.0
    assert ChartOptions().smoother(1).smoothing == 0.95


def test_reset_is_the_whole_plan_without_cursor():
    assert ChartOptions(cursor_step=4.0).freeze((1, 2)).reset() == ChartOptions()
