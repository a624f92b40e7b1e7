"""Header, tiles, lists and plain text of recorded runs."""

from __future__ import annotations

import dataclasses
import math

import pytest
from support.fake_runs import HOSTILE

from tuitrain.runs.status import Liveness
from tuitrain.tui.render.consequences import unsaved
from tuitrain.tui.render.explain import explain_lines
from tuitrain.tui.render.glyphs import ASCII
from tuitrain.tui.render.header import header_line, header_lines
from tuitrain.tui.render.panes import alert_line, note_lines, prompted, sample_body, sample_pane
from tuitrain.tui.render.plain import dashboard, dashboard_lines, run_list, step_line, summary
from tuitrain.tui.render.spans import line_width, plain
from tuitrain.tui.render.status import badge
from tuitrain.tui.render.summary import comparisons, summarise, thin
from tuitrain.tui.render.tiles import TILE_KEYS, tile, tiles_block, tiles_row
from tuitrain.tui.theme import STYLE_NAMES

STORIES = [
    "live", "resumed", "finished", "failed", "killed", "paused", "loading", "gone", "hostile", "fresh", "tuned", "preference",
    "blocked", "ranks",
]  # fmt: skip
WORDS = {
    "live": "RUNNING", "resumed": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED", "paused": "PAUSED",
    "loading": "LOADING DATA", "gone": "GONE", "hostile": "RUNNING", "fresh": "GONE", "tuned": "FINISHED",
    "preference": "RUNNING", "blocked": "FAILED", "ranks": "RUNNING",
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_state_is_glyph_word_and_colour(view_of, story):
    view = view_of(story, total=240)
    now = badge(view.state, view.liveness)
    assert now.word == WORDS[story]
    assert now.style in STYLE_NAMES
    text = plain([header_line(view, 120)])
    assert text.startswith(f"{getattr(view.glyphs, now.glyph)} {now.word}")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("story", STORIES)
def test_headers_and_tiles_have_their_width(view_of, story, width):
    view = view_of(story, total=240)
    for row in (*header_lines(view, width), *tiles_row(view, width)):
        assert line_width(row) == width
    if width >= 80:
        assert [line_width(row) for row in tiles_block(view, width)] == [width] * 4


def test_header_puts_time_left_against_the_plan(view_of):
    text = plain([header_line(view_of("live"), 140)])
    assert "step 492/1,200" in text
    assert "41%" in text
    assert "ETA 7 m 50 s (plan 7 m 06 s ▲10%)" in text
    assert "ckpt 1 m 02 s ago" in text


def test_silence_is_told_and_nothing_is_called_crashed(view_of):
    quiet = Liveness(alive=True, stale=True, text="no heartbeat for 2 m 10 s")
    text = plain(header_lines(dataclasses.replace(view_of("live"), liveness=quiet), 100))
    assert "SILENT" in text
    assert "no heartbeat for 2 m 10 s" in text
    assert "R resumes it" in plain(header_lines(view_of("gone"), 100))


def test_drift_knows_which_side_is_good(view_of):
    view = view_of("live")
    speed, memory = tile(view, "speed"), tile(view, "memory")
    assert speed.drift == ("▼9%", "bad")
    assert memory.drift[1] == "good"
    assert tile(view, "loss").below.startswith("plan 2.6"), "the plan at this step, not at the end"
    assert tile(view, "lr").below == "cosine"
    assert tile(view, "grad").below.startswith("p95 ")


def test_missing_numbers_are_dashes_and_nan_is_said(view_of):
    assert {tile(view_of("fresh"), key).value for key in TILE_KEYS} == {"-"}
    view = view_of("live", total=240)
    view.state.steps.column("loss")[-1] = math.nan
    assert tile(view, "loss").value == "NaN"


def test_consequences_of_killing(view_of):
    view = view_of("live")
    run = summarise(view.run_id, view.state, view.liveness)
    assert unsaved(run, view.now_s) == "last checkpoint step 400, 1 m 02 s ago: 92 steps would be lost"
    early = view_of("loading")
    assert unsaved(summarise("x", early.state, early.liveness), 0.0) == "nothing was trained yet"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_the_list_has_one_line_per_run(view_of, width):
    views = [view_of(story, total=240) for story in STORIES]
    runs = [summarise(view.run_id, view.state, view.liveness) for view in views]
    rows = run_list(runs, width=width, now_s=views[0].now_s).splitlines()
    assert len(rows) == len(STORIES) + 1
    assert all(len(row) <= width for row in rows)
    assert all(WORDS[story] in row for story, row in zip(STORIES, rows[1:], strict=True))


def test_hostile_text_is_harmless_everywhere(view_of):
    view = view_of("hostile")
    parts = [dashboard(view, width=width, height=40, log=[HOSTILE]) for width in (60, 120)]
    parts += [plain(note_lines(view, 100)), plain([alert_line(view, 100)]), plain(sample_body(view, 400, 60))]
    text = "\n".join([*parts, step_line(view.state), summary(view.state)])
    assert not any(ord(char) < 32 and char != "\n" for char in text), "a control character"
    assert "\x9b" not in text
    assert "\u202e" not in text
    assert "owned" not in text
    assert "[bold]bold[/bold]" in text, "markup is shown, not interpreted"


@pytest.mark.parametrize("glyphs", [None, ASCII])
@pytest.mark.parametrize(("width", "height"), [(60, 15), (80, 24), (100, 30), (120, 40), (200, 50)])
def test_the_plain_dashboard_fits(view_of, width, height, glyphs):
    view = view_of("resumed", **({"glyphs": glyphs} if glyphs else {}))
    rows = dashboard_lines(view, width=width, height=height, log=["a", "b"])
    assert len(rows) <= height
    assert all(line_width(row) <= width for row in rows)
    if glyphs:
        assert dashboard(view, width=width, height=height, log=["é"]).isascii()


def test_step_lines(view_of):
    assert step_line(view_of("live").state).startswith("step 492/1,200  41%  loss 2.612 (plan 2.629)  12.3k tok/s  MFU 31%")
    assert step_line(view_of("loading").state) == "loading data  tokenising Lib/asyncio (7 of 17 MB)  41%"


def test_the_summary_puts_plan_and_actual_side_by_side(view_of):
    view = view_of("finished")
    text = summary(view.state)
    assert text.startswith("finished after step 1,200 of 1,200: all steps done")
    for name in ("time", "speed", "loss", "bits per byte", "memory"):
        row = next(row for row in text.splitlines() if row.startswith(name))
        assert row.rstrip().endswith("%"), row
    rows = {row.name: row for row in comparisons(view)}
    assert rows["time"].planned == pytest.approx(1200 * 8192 / 13_600)
    assert rows["time"].actual == pytest.approx(float(view.state.steps.column("step_s").sum()))


def test_a_thinned_state_keeps_the_newest_step_and_shares_nothing(view_of):
    state = view_of("finished").state
    copy = thin(state, rows=50)
    assert len(copy.steps) <= 60
    assert copy.steps.last("step") == 1200
    assert copy.steps.last("loss") == state.steps.last("loss")
    state.steps.cut_after("step", 10)
    assert copy.steps.last("step") == 1200


def test_without_a_plan_event_the_plan_file_is_the_plan(view_of):
    view = view_of("live", total=240)
    view.state.plan.clear()
    fields = {"loss": 2.0, "loss_curve": [[0, 8.3], [240, 2.0]], "tokens_per_s": 9000.0, "mfu_frac": None, "duration_s": 7200.0}
    document = {"run": fields}
    view = dataclasses.replace(view, plan=document)
    assert tile(view, "speed").below == "plan 9k"
    assert tile(view, "mfu").drift is None
    assert view.planned("duration_s") == 7200
    assert tile(view, "loss").below.startswith("plan 5.")


def test_a_finished_run_says_what_comes_next(view_of):
    assert "`tuitrain chat demo-20251009-085320-finished` talks to it" in plain(
        header_lines(view_of("finished", total=240), 100)
    )


def test_samples_are_scrubbed_by_step(view_of):
    view = view_of("live")
    assert "@ step 400" in plain(sample_pane(view, None, 60, 8))
    assert "@ step 100" in plain(sample_pane(view, 0, 60, 8))
    rows = sample_body(view, 400, 60)
    assert rows[0][0] == ("def ", "prompt")


@pytest.mark.parametrize("width", [20, 40, 60, 100])
def test_a_question_and_its_answer_stand_on_lines_of_their_own(view_of, width):
    rows = sample_body(view_of("tuned", total=240), 240, width)
    assert all(len({style for _, style in row}) <= 1 for row in rows)
    assert " ".join(text for row in rows for text, style in row if style == "prompt").startswith(
        "What is the name of the river"
    )
    assert [style for row in rows for _, style in row][-1] == "sample"
    assert all(line_width(row) <= width for row in rows)


@pytest.mark.parametrize(("prompt", "text"), [
    ("The quick brown fox jumps over", " the lazy dog, and then it rests."),
    ("def read(self):\n\treturn", " self._read(\n\t1)"),
    ("x" * 35, "y" * 35),
])  # fmt: skip
@pytest.mark.parametrize("width", [7, 10, 30, 200])
def test_a_wrapped_prompt_stays_a_prompt_to_its_last_letter(prompt, text, width):
    rows = prompted(prompt, text, width)
    joined = {name: "".join(part for row in rows for part, style in row if style == name) for name in ("prompt", "sample")}
    assert joined["prompt"] == "".join(line.expandtabs(4) for line in prompt.split("\n"))
    assert joined["prompt"] + joined["sample"] == "".join(line.expandtabs(4) for line in (prompt + text).split("\n"))


def test_explanations_show_measured_planned_and_formula(view_of):
    text = plain(explain_lines(view_of("live"), "speed", 60))
    assert "median of the last 20 steps" in text
    assert "13.6k" in text
    assert "tokens_per_s = tokens_per_step / step_s" in text
    assert "the plan says nothing about it" in plain(explain_lines(view_of("live"), "grad", 60))
