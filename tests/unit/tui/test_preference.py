"""Preference tuning on the dashboard: rewards where a run has them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from tuitrain.events import Event, fold
from tuitrain.events.fold import EVAL_COLUMNS, STEP_COLUMNS
from tuitrain.events.schema import KINDS
from tuitrain.tui.render.chart import render_text
from tuitrain.tui.render.chart_data import chart
from tuitrain.tui.render.explain import explain_lines
from tuitrain.tui.render.glyphs import ASCII
from tuitrain.tui.render.metrics import BY_KEY, has_rewards, keys_of
from tuitrain.tui.render.options import ChartOptions
from tuitrain.tui.render.panes import tab_line
from tuitrain.tui.render.plain import step_line, summary
from tuitrain.tui.render.spans import plain
from tuitrain.tui.render.status import badge, waiting_for
from tuitrain.tui.render.summary import thin
from tuitrain.tui.render.tiles import PREFERENCE_TILE_KEYS, TILE_KEYS, tile, tile_keys, tiles_row
from tuitrain.tui.widgets.chart_pane import Look


def event(kind, step, seq, **data):
    return Event(kind=kind, seq=seq, t_ns=seq, rank=0, step=step, data=data)


def test_rewards_are_folded_and_old_logs_have_none():
    rewards = {"reward_chosen": 0.1, "reward_rejected": -0.3, "reward_margin": 0.4, "accuracy": 0.75}
    state = fold([event("step", 1, 1, loss=0.6, **rewards), event("eval", 1, 2, loss=0.6, **rewards)])
    assert {name: state.steps.last(name) for name in rewards} == rewards
    assert {name: state.evals.last(name) for name in rewards} == rewards
    old = fold([event("step", 1, 1, loss=2.0)])
    assert np.isnan(old.steps.last("reward_margin"))
    assert set(STEP_COLUMNS) - {"step", "t_s"} <= set(KINDS["step"])
    assert set(EVAL_COLUMNS) - {"step", "t_s"} <= set(KINDS["eval"])


def test_a_run_has_the_metrics_of_its_stage(view_of):
    pairs, text = view_of("preference"), view_of("live")
    assert keys_of(pairs) == ("loss", "margin", "accuracy", "grad", "speed", "mfu", "memory", "lr")
    assert keys_of(text) == ("loss", "bits", "grad", "speed", "mfu", "memory", "lr")
    assert tile_keys(pairs) == PREFERENCE_TILE_KEYS
    assert tile_keys(text) == TILE_KEYS
    assert not has_rewards(view_of("tuned"))
    pairs.config.clear()
    assert has_rewards(pairs), "the log alone tells"


def test_tabs_name_the_charts_of_the_run(view_of):
    line = plain([tab_line(view_of("preference"), "margin", 80)])
    assert "[margin]" in line
    assert "learning rate" in line
    assert "bits" not in line
    look, keys = Look(), keys_of(view_of("preference"))
    for key in (*keys[1:], "loss"):
        look.turn(1, keys)
        assert look.active == key
    assert look.others(4, keys) == ["margin", "accuracy", "grad", "speed"]
    look.active = "bits"
    look.turn(1, keys)
    assert look.active == "margin", "a chart the run does not have"


def test_the_margin_stands_between_both_rewards(view_of):
    view = view_of("preference")
    data = chart(view, BY_KEY["margin"], ChartOptions())
    assert [curve.name for curve in data.curves if curve.name] == ["better", "worse", "smoothed"]
    assert len(data.points_x) == len(view.state.evals)
    text = render_text(view, "margin", 100, 18)
    assert "━ better" in text
    assert "··· worse" in text
    assert "● eval" in text
    assert render_text(view_of("preference", glyphs=ASCII), "margin", 100, 18).isascii()
    assert "100" in render_text(view, "accuracy", 100, 18), "in percent"


def test_tiles_are_means_of_some_steps_beside_the_last_evaluation(view_of):
    view = view_of("preference")
    expected = float(view.state.steps.column("accuracy")[-20:].mean())
    assert tile(view, "accuracy").value == f"{expected:.0%}"
    assert tile(view, "accuracy").below.startswith("eval ")
    assert tile(view, "margin").below.startswith("eval 0.")
    assert plain(tiles_row(view, 100)).count("│") >= 4


def test_words_fit_preferences(view_of):
    view = view_of("preference")
    assert "reference" in plain(explain_lines(view, "loss", 60))
    assert "perplexity" in plain(explain_lines(view_of("live"), "loss", 60))
    assert "larger reward" in plain(explain_lines(view, "accuracy", 60))
    line = step_line(view.state)
    assert "margin 0." in line
    assert "accuracy " in line
    assert "nan" not in line.lower()
    assert "nats per token" not in summary(view.state)
    assert "last evaluation: margin" in summary(view.state)
    assert has_rewards(view_of("preference"))
    assert thin(view.state).steps.last("reward_margin") == view.state.steps.last("reward_margin")


def test_evaluations_without_bytes_say_nothing_of_bits(view_of):
    state = view_of("preference").state
    state.evals.append({"step": float(state.step), "loss": 0.5, "reward_margin": 0.2, "accuracy": 0.6})
    assert "eval 0.500 (margin 0.200  accuracy 60%)" in step_line(state)


@pytest.mark.parametrize(("phase", "word", "waiting"), [
    ("check", "CHECKING", "waiting for the first step: the flight check"),
    ("reference", "REFERENCE", "waiting for the first step: what the reference model makes of the answers"),
])  # fmt: skip
def test_phases_of_fine_tuning_have_words(phase, word, waiting):
    state = fold([event("phase", 0, 1, name=phase, detail="", done_frac=None)])
    assert badge(state).word == word
    assert waiting_for(state) == waiting
