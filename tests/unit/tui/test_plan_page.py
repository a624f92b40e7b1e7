"""The Plan screen's panes as text: what stands in them, at which size, in which characters."""

from __future__ import annotations

import pytest

from tuitrain.runs.home import presets_dir
from tuitrain.tui.plan.fields import first_form
from tuitrain.tui.plan.reading import Sources
from tuitrain.tui.plan.state import Planning
from tuitrain.tui.render.glyphs import ASCII, UNICODE
from tuitrain.tui.render.plan_chart import plan_chart
from tuitrain.tui.render.plan_form import form_lines
from tuitrain.tui.render.plan_memory import LETTERS, groups_of, memory_block
from tuitrain.tui.render.plan_numbers import numbers_block
from tuitrain.tui.render.plan_page import VIEWS, plan_page, title_line
from tuitrain.tui.render.plan_table import table_block
from tuitrain.tui.render.spans import line_width, plain
from tuitrain.tui.theme import STYLE_NAMES
from tuitrain_planners import PlanError


def never(precision):
    raise PlanError("this machine was never measured")


def planned(**changes):
    made = Planning(Sources(presets=presets_dir(), measured=never), form=first_form(**changes))
    made.replan()
    made.finish()
    return made


OOM = {"loss": "plain"}


def test_the_bar_is_as_long_as_its_bytes():
    memory = planned().planned.memory
    block = memory_block(memory, 100, ASCII)
    bar = plain([block.lines[1]]).ljust(100)
    per_cell = max(memory.capacity_bytes, memory.device_bytes.high.value) / 100
    for name, value in groups_of(memory).items():
        assert bar.count(LETTERS[name]) == pytest.approx(value / per_cell, abs=1), name
    assert sum(groups_of(memory).values()) == pytest.approx(memory.device_bytes.mid.value)


@pytest.mark.parametrize(("change", "word"), [({"recompute": "selective"}, "FITS"), ({}, "TIGHT"), (OOM, "OUT OF MEMORY")])
def test_the_verdict_is_a_word_and_a_mark(change, word):
    block = memory_block(planned(**change).planned.memory, 60, ASCII)
    assert word in plain(block.lines)


def test_what_lies_beyond_the_device_is_beyond_its_mark():
    memory = planned(**OOM, micro_batch="4").planned.memory
    bar, scale = (plain([row]) for row in memory_block(memory, 80, ASCII).lines[1:3])
    assert len(bar.rstrip()) > scale.index("^")


def test_the_table_brackets_this_plan_and_marks_what_fits():
    planning = planned(**OOM)
    text = plain(table_block(planning.planned, planning.grid, 60).lines)
    assert text.splitlines()[0].split() == ["ZeRO", "fp32", "bf16-mixed", "bf16-pure"]
    assert "[82.3 no   ]" in text
    assert "76.1 tight" in text
    assert text.count("[") == 1


def test_numbers_are_whole_or_left_out():
    plan = planned().planned
    for width in range(12, 100, 7):
        for row in numbers_block(plan, width, 30, UNICODE).lines:
            assert line_width(row) <= width
    narrow = plain(numbers_block(plan, 30, 30, UNICODE).lines)
    assert "$23,834" in narrow
    assert "$19,067" not in narrow, "the band has no room"


def test_rows_go_by_their_weight_where_there_are_too_many():
    plan = planned().planned
    shown = [plain([row]).split()[0] for row in numbers_block(plan, 80, 30, UNICODE).lines]
    assert [each for each in shown if each in ("optimum", "steps", "wall", "disk", "host", "loss")] == [
        "optimum", "steps", "wall", "disk", "host", "loss",
    ]  # fmt: skip
    for height in (11, 8):
        labels = [plain([row]).split()[0] for row in numbers_block(plan, 80, height, UNICODE).lines]
        assert len(labels) == height
        assert {"model", "tokens", "speed", "time", "money", "loss"} <= set(labels)


def test_fine_tuning_shows_what_is_trained_and_no_law():
    planning = planned(method="qlora", rank="64")
    text = plain(numbers_block(planning.planned, 100, 30, UNICODE).lines)
    assert "168M trained" in text
    assert "rest frozen in nf4-dq" in text
    assert "law epoch" not in text
    assert "optimum" not in text
    assert "per parameter" not in text
    page = plan_page(planning, "chart", 83, 38, UNICODE)
    assert "Scaling laws are about training all weights" in plain(page.lines)
    assert "10M, as none is given" in plain(form_lines(planning, 40, 22, UNICODE)[0])


def test_wall_clock_disk_and_offloaded_states_are_told():
    plan = planned(offload="optimizer").planned
    text = plain(numbers_block(plan, 100, 30, UNICODE).lines)
    for said in ("% of it trains", "a checkpoint", "of RAM", "offloaded"):
        assert said in text, said


def test_a_price_nobody_knows_says_how_to_give_one():
    text = plain(numbers_block(planned(hardware="rtx-2080-ti", precision="fp16-mixed").planned, 80, 30, UNICODE).lines)
    assert "device hours" in text


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_the_chart_shows_the_plan_and_those_one_knows(glyphs):
    text = plain(plan_chart(planned().planned, 100, 20, glyphs), glyphs)
    for name in ("this plan", "gpt3-175b", "chinchilla-70b", "smollm2-135m", "FLOP"):
        assert name in text
    assert text.isascii() == glyphs.ascii_only


@pytest.mark.parametrize("length", ["1e6", "optimal", "1e15"])
@pytest.mark.parametrize("model", ["d1", "llama-3-8b", "llama-3.1-405b"])
def test_the_plan_is_on_the_chart_wherever_it_lies(model, length):
    text = plain(plan_chart(planned(model=model, length=length, seq="64").planned, 70, 14, ASCII))
    assert "this plan" in text
    assert "*" in text


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize(("width", "height"), [(48, 22), (83, 38), (159, 48), (30, 10), (10, 4), (200, 60)])
@pytest.mark.parametrize("view", VIEWS)
def test_a_page_fills_its_size_exactly(view, width, height, glyphs):
    planning = planned(**OOM)
    page = plan_page(planning, view, width, height, glyphs)
    assert len(page.lines) <= height
    assert {line_width(row) for row in page.lines} <= {width, 0} or width < 12
    assert {style.removeprefix("selected.") for row in page.lines for _, style in row} <= STYLE_NAMES
    assert not glyphs.ascii_only or plain(page.lines, glyphs).isascii()
    for hit in page.hits:
        assert 0 <= hit.start < hit.end <= width, hit


def test_figures_stand_where_the_page_says():
    planning = planned()
    page = plan_page(planning, "all", 83, 38, UNICODE)
    rows = plain(page.lines).splitlines()
    at = {hit.figure: rows[hit.row][hit.start : hit.end] for hit in page.hits}
    assert at["model.parameters"] == "8.03B parameters"
    assert at["cost.usd"] == "$23,834"
    assert at["loss.predicted"] == "2.154 nats/token"
    assert at["memory.peak.optimizer"].strip("O") == "7.48 GiB" or "7.48 GiB" in plain(page.lines)


def test_the_form_keeps_the_cursor_in_sight():
    planning = planned()
    planning.fold()
    assert len(planning.visible) > 20
    for row in planning.visible:
        planning.row = row
        lines, owners = form_lines(planning, 30, 7, ASCII)
        assert len(lines) <= 7
        assert row in owners
    planning.row = 0
    planning.begin()
    lines, owners = form_lines(planning, 30, 7, ASCII)
    assert owners[0] == 0
    assert "llama" in plain(lines)


def test_the_form_as_text():
    planning = planned()
    text = plain(form_lines(planning, 32, 22, ASCII)[0]).splitlines()
    assert text[:4] == [
        ">model        llama-3-8b",
        " method       full",
        " hardware     h100-80gb",
        " devices      8",
    ]
    planning.row = 9
    assert plain(form_lines(planning, 32, 22, ASCII)[0]).splitlines()[9] == ">ZeRO         < 3 >"


def test_the_title_says_when_the_plan_is_an_earlier_one():
    planning = planned()
    assert "llama-3-8b on 8 x NVIDIA H100" in plain([title_line(planning, 100, UNICODE)])
    planning.begin()
    planning.type("?")
    assert "not this form" in plain([title_line(planning, 100, UNICODE)])
    assert "measuring" in plain([title_line(planning, 60, UNICODE, "measuring this machine")])
