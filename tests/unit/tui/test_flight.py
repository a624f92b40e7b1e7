"""The flight check: read as it was written, shown the worst first, and told where it stopped a run."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.fake_runs import BLOCKING, FINDINGS, HOSTILE, make_run

from tuitrain.data.chat.findings import Finding
from tuitrain.runs.flight import read_findings
from tuitrain.tui.render.flight import absence, blocking, blocking_lines, counts, finding_lines, flight_lines, places
from tuitrain.tui.render.glyphs import ASCII, UNICODE
from tuitrain.tui.render.header import header_lines
from tuitrain.tui.render.plain import dashboard
from tuitrain.tui.render.spans import line_width, plain
from tuitrain.tui.theme import STYLE_NAMES


def test_findings_are_read_the_worst_first(tmp_path):
    (tmp_path / "flight.json").write_text(json.dumps([*FINDINGS, BLOCKING]))
    found = read_findings(tmp_path)
    assert [each.severity for each in found] == ["block", "warn", "ok", "ok", "ok"]
    assert found[0] == Finding.from_dict(BLOCKING)


@pytest.mark.parametrize(("text", "expected"), [
    (None, None),
    ("", None),
    ("{}", None),
    ("[]", ()),
    ('[1, null, {"severity": "loud"}, {"severity": "ok", "check": 3, "where": "x", "count": "many", "new": 1}]',
     (Finding(check="3", severity="ok", message=""),)),
])  # fmt: skip
def test_a_file_that_is_missing_torn_or_newer_is_no_error(tmp_path, text, expected):
    if text is not None:
        (tmp_path / "flight.json").write_text(text)
    assert read_findings(tmp_path) == expected


def test_the_same_file_as_the_trainer_writes(tmp_path):
    from tuitrain.runs.flight import FILE
    from tuitrain.trainer.flight.report import FILE as WRITTEN

    assert FILE == WRITTEN


def test_groups_have_glyph_word_colour_and_number(view_of):
    rows = flight_lines(view_of("blocked"), 100)
    heads = [row for row in rows if row and row[0][0].startswith(("✖", "!", "✔"))]
    assert [row[0] for row in heads] == [("✖ BLOCKS THE START", "state.failed"), ("! WARNING", "alert"), ("✔ OK", "good")]
    assert [row[1][0] for row in heads] == [" (1)", " (1)", " (3)"]
    text = plain(flight_lines(view_of("blocked"), 120))
    assert "at chats.jsonl:18, chats.jsonl:204, chats.jsonl:377, chats.jsonl:612, chats.jsonl:1190 and 7 more" in text
    assert "fix: train.seq_len=1792" in text
    assert counts(view_of("blocked").findings) == "1 block, 1 warn, 3 ok"


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [12, 30, 47, 48, 78, 200])
def test_findings_fit_every_width(view_of, width, glyphs):
    rows = flight_lines(view_of("hostile", glyphs=glyphs), width)
    if width >= 30:
        assert max(map(line_width, rows)) <= width
    assert {style for row in rows for _, style in row} <= STYLE_NAMES


def test_hostile_findings_are_harmless(view_of):
    text = plain(flight_lines(view_of("hostile"), 90))
    assert "[bold]bold[/bold]" in text
    assert not any(ord(char) < 32 and char != "\n" for char in text)
    assert "\u202e" not in text
    assert "owned" not in text


def test_a_run_without_a_flight_check_says_why(view_of):
    assert absence(view_of("live")).startswith("pretraining has none")
    early = dataclasses.replace(view_of("preference"), findings=None)
    assert absence(early).startswith("not done yet")
    late = dataclasses.replace(view_of("blocked"), findings=None)
    assert absence(late).startswith("the run ended before it (failed: 1 finding")
    assert "wrote down nothing" in plain(flight_lines(dataclasses.replace(view_of("tuned"), findings=()), 80))


def test_places_are_counted_beyond_those_named():
    assert places(Finding(check="a", severity="ok", message="", where=("x:1",), count=1)) == "x:1"
    assert places(Finding(check="a", severity="ok", message="", where=tuple("abcdefg"))) == "a, b, c, d, e and 2 more"


def test_what_blocked_the_start_and_its_fix_stand_in_the_header(view_of):
    view = view_of("blocked")
    text = plain(header_lines(view, 120))
    assert text.startswith("✖ FAILED")
    assert "✖ flight check: truncation: 12 of 2,000 examples are longer than train.seq_len 512" in text
    assert "fix: train.seq_len=1792, or data.too_long=drop" in text
    assert "f shows the whole flight check" in text
    assert "R resumes it" not in text, "it would be stopped again"
    two = dataclasses.replace(view, findings=(*view.findings, *view.findings[:1]))
    assert "f shows the whole flight check; 1 more blocks" in plain(blocking_lines(two, 120))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_the_header_keeps_its_width_and_leaves_room(view_of, width):
    rows = header_lines(view_of("blocked"), width)
    assert {line_width(row) for row in rows} == {width}
    assert len(rows) <= 7


def test_a_run_that_failed_otherwise_was_not_stopped_by_its_flight_check(view_of):
    assert blocking(view_of("failed")) == ()
    assert blocking(view_of("tuned")) == ()
    running = dataclasses.replace(view_of("preference"), findings=view_of("blocked").findings)
    assert blocking(running) == ()


def test_the_plain_dashboard_needs_no_findings(tmp_path, view_of):
    run, _ = make_run(tmp_path, "blocked")
    assert run.fold().state == "failed"
    assert "1 finding of the flight check blocks the start" in dashboard(dataclasses.replace(view_of("blocked"), findings=None))


def test_what_it_is_made_of_is_shown_as_text():
    rows = finding_lines([Finding(check=HOSTILE, severity="block", message=HOSTILE, fix=HOSTILE)], 60, UNICODE)
    assert all("\x1b" not in text for row in rows for text, _ in row)
