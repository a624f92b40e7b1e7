"""Ranks side by side: the panel at every width, the sentence, the memory tile, the closing table."""

from __future__ import annotations

import dataclasses

import pytest
from support.fake_runs import FULL_RANK, HOSTILE, RANKS, SLOW_RANK

from tuitrain.events import Event, RunState, fold
from tuitrain.tui.render.explain import explain_lines
from tuitrain.tui.render.glyphs import ASCII, UNICODE
from tuitrain.tui.render.panes import alert_line
from tuitrain.tui.render.plain import dashboard, summary
from tuitrain.tui.render.ranks import detail_lines, most_telling, rank_rows, ranks_pane, skew_words
from tuitrain.tui.render.spans import line_width, plain
from tuitrain.tui.render.status import badge
from tuitrain.tui.render.tiles import measured_value, tile
from tuitrain.tui.theme import STYLE_NAMES


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("rows", [0, 1, 2, 4, 8])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_the_panel_fits_and_names_the_slowest(view_of, width, rows, glyphs):
    view = view_of("ranks", total=240, glyphs=glyphs)
    lines = ranks_pane(view, width, rows)
    assert all(line_width(line) == width for line in lines)
    assert {style for line in lines for _, style in line} <= STYLE_NAMES
    assert len(lines) == (1 if rows == 0 else min(rows, RANKS) + 4)
    text = plain(lines, glyphs)
    assert f"rank {SLOW_RANK} is slowest" in text
    assert glyphs is UNICODE or text.isascii()


def test_one_process_has_no_panel_and_an_unchanged_tile(view_of):
    view = view_of("live", total=240)
    assert ranks_pane(view, 120, 4) == []
    assert tile(view, "memory").label == "mem"
    assert "rank" not in summary(view.state)


def test_columns_go_by_their_worth(view_of):
    view = view_of("ranks", total=240)
    wide, narrow = plain(ranks_pane(view, 120, 4)), plain(ranks_pane(view, 46, 4))
    for word in ("step", "memory", "of plan", "waits", "communicating", "for data"):
        assert word in wide
    assert "memory" in narrow
    assert "waits" in narrow
    assert "communicating" not in narrow


def test_each_rank_against_the_plan_and_what_it_waits(view_of):
    rows = rank_rows(view_of("ranks", total=240))
    assert [row.rank for row in rows] == list(range(RANKS))
    assert rows[FULL_RANK].peak == "1.34 GiB"
    assert rows[FULL_RANK].drift[0][0].endswith("7%")
    assert rows[SLOW_RANK].waits == "0%"
    assert rows[0].waits == "24%"
    assert rows[0].communicating == "30%"
    assert [row.mark for row in rows] == ["", "", "slowest", "fullest"]
    assert [row.rank for row in most_telling(rows, 2)] == [SLOW_RANK, FULL_RANK]


def test_the_sentence(view_of):
    state = view_of("ranks", total=240).state
    assert skew_words(state, state.skew) == (
        "rank 2 is slowest: the others waited for it 24% of the time (longest in 5 of 5 traced steps)"
    )
    assert skew_words(RunState(), None) == ""
    few = dataclasses.replace(state.skew, steps=2)
    assert skew_words(state, few) == "2 steps traced: too few to name a rank"
    turns = dataclasses.replace(state.skew, worst_count={0: 2, 1: 1, 2: 2, 3: 0})
    assert skew_words(state, turns).startswith("no rank stands out: the others waited 24% of the time for rank 2, the most")


def test_the_memory_tile_is_of_the_fullest_rank_and_names_it(view_of):
    view = view_of("ranks", total=240)
    shown = tile(view, "memory")
    assert shown.label == f"mem rank {FULL_RANK}"
    assert measured_value(view, "memory") == pytest.approx(1.44e9)
    assert shown.below == "plan 1.26 GiB"
    assert "several processes" in plain(explain_lines(view, "memory", 70))


def test_the_closing_report_has_a_line_per_rank(view_of):
    text = summary(view_of("ranks", total=240).state)
    assert "memory rank 3" in text
    table = text[text.index("memory               planned") :].splitlines()
    assert table[0].split() == ["memory", "planned", "peak", "difference", "waits", "communicating"]
    assert table[1 + FULL_RANK].split() == ["rank", "3", "1.26", "GiB", "1.34", "GiB", "+7%", "23%", "33%"]
    assert table[1 + RANKS].startswith("rank 2 is slowest")


def test_the_text_dashboard_has_the_panel(view_of):
    view = view_of("ranks", total=240)
    assert "4 ranks" in dashboard(view, width=120, height=40)
    assert "4 ranks: rank 2 is slowest" in dashboard(view, width=80, height=24)


def test_what_logs_say_of_a_rank_is_cleaned(view_of):
    view = view_of("ranks", total=240)
    hostile = {"world_size": RANKS, "host": HOSTILE, "device": HOSTILE, "pid": 7}
    end = {"state": "failed", "reason": HOSTILE}
    t_ns = view.state.last_t_ns + 1
    fold([Event(seq=900, t_ns=t_ns, rank=1, step=9, kind="run_start", data=hostile)], view.state)
    fold([Event(seq=901, t_ns=t_ns + 1, rank=1, step=9, kind="run_end", data=end)], view.state)
    text = plain(detail_lines(view, view.state.ranks[1], "logs/rank00001.log", 80))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert rank_rows(view)[1].mark == "failed"
    # Of what host it says it is nobody knows: its clock is not taken for that of the others.
    assert "clocks are not one" in skew_words(view.state, view.state.skew)


def test_a_killed_rank_is_marked_alerted_and_the_restart_has_a_word(view_of):
    view = view_of("ranks", total=240, trust_log=True)
    facts = {"attempt": 1, "cause": "killed", "reason": f"rank 1 was killed {HOSTILE}", "ended_rank": 1, "action": "restart"}
    t_ns = view.state.last_t_ns + 1
    fold([Event(seq=1, t_ns=t_ns, rank=-1, step=9, kind="attempt_end", data=facts | {"log": "logs/rank00001.log"})], view.state)
    assert [row.mark for row in rank_rows(view)] == ["", "failed", "slowest", "fullest"]
    now = badge(view.state)
    assert now.word == "RESTARTING"
    assert now.detail.startswith("rank 1 was killed")
    alert = plain([alert_line(view, 300)])
    assert "attempt 1 died: rank 1 was killed" in alert
    assert "(log: logs/rank00001.log); it starts again" in alert
    assert "\x1b" not in alert


def test_a_rank_that_has_not_written_is_shown_as_silent(view_of):
    view = view_of("ranks", total=240)
    del view.state.ranks[1]
    row = rank_rows(view)[1]
    assert (row.step, row.peak, row.communicating, row.mark) == ("-", "-", "-", "silent")
