"""Charts of recorded runs: what is drawn, and what is said about how it is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from tuitrain.tui.render.axes import step_axis
from tuitrain.tui.render.chart import chart_pane, render_text
from tuitrain.tui.render.chart_data import chart
from tuitrain.tui.render.glyphs import ASCII, UNICODE
from tuitrain.tui.render.metrics import BY_KEY, METRICS
from tuitrain.tui.render.options import ChartOptions
from tuitrain.tui.render.spans import line_width
from tuitrain.tui.theme import STYLE_NAMES

LOOKS = (
    ChartOptions(),
    ChartOptions(x_axis="time", range="all", cursor_step=30.0),
    ChartOptions(x_axis="tokens", range="tail"),
)
SIZES = [(24, 6), (40, 9), (60, 12), (100, 20), (196, 40)]


@pytest.mark.parametrize("story", ["live", "resumed", "loading", "failed", "finished", "fresh", "hostile", "preference"])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)
def test_every_chart_of_every_story_is_a_rectangle_of_known_styles(view_of, story, metric):
    view = view_of(story, total=240)
    for width, height in SIZES:
        for options in LOOKS:
            rows = chart_pane(view, metric, options, width, height, active=True)
            assert [line_width(row) for row in rows] == [width] * height
            assert {style for row in rows for _, style in row} <= STYLE_NAMES


def test_the_loss_chart_tells_its_range_scale_and_smoothing(view_of):
    text = render_text(view_of("live"), "loss", 90, 16)
    assert text.splitlines()[0].endswith("log y · ema 0.9 · plan 0–1.2k ─╮")  # noqa: RUF001
    assert "loss 2.6" in text.splitlines()[0]
    assert "··· planned" in text
    assert "● eval" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ChartOptions(range="all"), "all 1–492"),  # noqa: RUF001
        (ChartOptions(range="tail"), "last 492"),
        (ChartOptions().freeze((100.0, 300.0)), "frozen 100–300"),  # noqa: RUF001
    ],
)
def test_every_range_is_named(view_of, options, said):
    assert said in render_text(view_of("live"), "loss", 90, 16, options=options)


def test_a_log_axis_is_refused_with_its_reason(view_of):
    view = view_of("live", total=240)
    view.state.steps.column("grad_norm")[3] = 0.0
    assert "log needs values > 0" in render_text(view, "grad", 90, 12, y_kind="log")


def test_marks_of_checkpoints_resume_and_guard_are_on_the_axis(view_of):
    axis = next(row for row in render_text(view_of("resumed"), "loss", 110, 20).splitlines() if "└" in row)
    assert all(glyph in axis for glyph in (UNICODE.mark_checkpoint, UNICODE.mark_resume, UNICODE.mark_guard, UNICODE.mark_eval))


def test_an_abandoned_branch_is_drawn_dimmed(view_of):
    view = view_of("resumed")
    data = chart(view, BY_KEY["loss"], ChartOptions())
    branch = next(curve for curve in data.curves if curve.style == "abandoned")
    assert branch.x[0] == 201
    assert branch.x[-1] == 369
    rows = chart_pane(view, BY_KEY["loss"], ChartOptions(), 110, 20)
    assert any(style == "abandoned" for row in rows for _, style in row)


def test_a_nan_is_marked_and_not_smoothed_over(view_of):
    view = view_of("failed")
    data = chart(view, BY_KEY["loss"], ChartOptions())
    assert data.nan_x.tolist() == [246.0]
    rows = chart_pane(view, BY_KEY["loss"], ChartOptions(), 110, 20)
    assert any(text == UNICODE.mark_nan and style == "mark.nan" for row in rows for text, style in row)


def test_the_crosshair_reads_out_the_nearest_step(view_of):
    text = render_text(view_of("resumed"), "loss", 110, 16, options=ChartOptions(cursor_step=400.2))
    readout = text.splitlines()[-2]
    assert "step 400 · loss " in readout
    assert "(ema " in readout
    assert "· plan 2.7" in readout
    assert "checkpoint saved" in readout


@pytest.mark.parametrize(
    ("story", "key", "words"),
    [
        ("loading", "loss", "waiting for the first step: loading data (41%)"),
        ("loading", "bits", "waiting for the first evaluation"),
        ("fresh", "loss", "no steps were trained"),
    ],
)
def test_an_empty_chart_says_what_it_waits_for(view_of, story, key, words):
    assert words in render_text(view_of(story), key, 90, 12)


def test_an_empty_chart_claims_no_range_and_a_narrow_one_is_brief(view_of):
    view = view_of("loading")
    assert "plan 0" not in render_text(view, "loss", 90, 12)
    assert "loading data (41%)" in render_text(view, "grad", 40, 9)
    assert "waiting" not in render_text(view, "grad", 40, 9)


def test_a_run_of_one_step_has_no_ticks_between_steps(view_of):
    view = view_of("live", total=240)
    view.state.steps.cut_after("step", 1)
    labels = render_text(view, "loss", 90, 12, options=ChartOptions(range="frozen", window=(0.0, 2.0))).splitlines()[-2]
    assert "0.5" not in labels


def test_no_peak_no_mfu_and_the_chart_says_so(view_of):
    view = view_of("live", total=240)
    view.state.steps.column("mfu_frac")[:] = np.nan
    assert "the peak of this device is not known" in render_text(view, "mfu", 90, 12)


def test_ascii_charts_are_ascii(view_of):
    for metric in METRICS:
        assert render_text(view_of("resumed", glyphs=ASCII, total=240), metric.key, 100, 16).isascii()


def test_tokens_and_time_put_the_run_where_it_belongs(view_of):
    view = view_of("live")
    tokens, seconds = step_axis(view, "tokens"), step_axis(view, "time")
    assert tokens.at(492) == pytest.approx(492 * 8192)
    assert tokens.at(1200) == pytest.approx(1200 * 8192)
    assert seconds.at(492) == pytest.approx(view.state.steps.last("t_s") - view.state.steps.column("t_s")[0], rel=0.01)
    assert seconds.at(1200) > seconds.at(492)
    assert tokens.step_at(tokens.at(700)) == pytest.approx(700, abs=2)


def test_rebuilding_with_kept_smoothers_gives_the_same_chart(view_of):
    view = view_of("resumed")
    first = render_text(view, "loss", 110, 20)
    assert render_text(view, "loss", 110, 20) == first
