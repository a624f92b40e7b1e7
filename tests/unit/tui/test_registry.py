"""The action registry: one key, one meaning; capitals touch the job; every screen carries out what it lists."""

from __future__ import annotations

import pytest

from tuitrain.tui.actions import ACTIONS, SCREENS, bindings, footer_keys, on_screen
from tuitrain.tui.app import TuitrainApp
from tuitrain.tui.render.footer import footer
from tuitrain.tui.render.spans import line_width
from tuitrain.tui.screens.chart_full import ChartScreen
from tuitrain.tui.screens.explain import ExplainScreen
from tuitrain.tui.screens.help import help_lines
from tuitrain.tui.screens.pagers import AlertsScreen, FlightScreen, LogScreen, SamplesScreen
from tuitrain.tui.screens.plan import PlanScreen
from tuitrain.tui.screens.plan_explain import PlanExplainScreen
from tuitrain.tui.screens.ranks import RanksScreen
from tuitrain.tui.screens.run import RunScreen
from tuitrain.tui.screens.runs import RunsScreen
from tuitrain.tui.screens.tokens import TokensScreen
from tuitrain.tui.theme import ANSI, DARK, LIGHT, STYLE_NAMES, palette_of, style

CLASSES = (
    RunsScreen,
    RunScreen,
    ChartScreen,
    SamplesScreen,
    LogScreen,
    AlertsScreen,
    ExplainScreen,
    FlightScreen,
    TokensScreen,
    RanksScreen,
    PlanScreen,
    PlanExplainScreen,
)
SCREEN_CLASSES = {cls.WHERE: cls for cls in CLASSES}


@pytest.mark.parametrize("where", SCREENS)
def test_no_key_means_two_things_on_a_screen(where):
    keys = [key for action in on_screen(where) for key in action.keys.split(",")]
    assert len(keys) == len(set(keys)), sorted(key for key in keys if keys.count(key) > 1)


def test_capitals_touch_the_job_and_nothing_else_does():
    for action in ACTIONS:
        capitals = [key for key in action.keys.split(",") if len(key) == 1 and key.isupper()]
        assert bool(capitals) == action.touches_job or action.keys == "G,end", action.id


def test_every_action_on_the_job_names_its_command():
    assert all(action.cli.startswith("tuitrain ") for action in ACTIONS if action.touches_job)


@pytest.mark.parametrize("where", SCREENS)
def test_screens_carry_out_what_they_list(where):
    for action in on_screen(where):
        name = f"action_{action.method}"
        assert hasattr(SCREEN_CLASSES[where], name) or hasattr(TuitrainApp, name), f"{where} lacks {name}"


@pytest.mark.parametrize("where", SCREENS)
def test_bindings_bear_the_ids_keymaps_use(where):
    assert [each.id for each in bindings(where)] == [action.id for action in on_screen(where)]


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("where", SCREENS)
def test_footers_fit_and_keep_help_and_quit(where, width):
    line, places = footer(footer_keys(where), width)
    assert line_width(line) == width
    text = "".join(part for part, _ in line)
    if width >= 40:
        assert "? " in text
        assert "q Quit" in text
    assert all(0 <= start < end for start, end in places.values())
    assert {name for _, name in line} <= STYLE_NAMES


def test_help_lists_every_key_with_its_command():
    from tuitrain.tui.render.glyphs import ASCII

    text = "\n".join("".join(part for part, _ in row) for row in help_lines("run", ASCII, 72))
    assert text.isascii()
    assert "tuitrain runs stop RUN" in text
    for action in on_screen("run"):
        assert action.tooltip.split()[0] in text


@pytest.mark.parametrize("theme", [DARK, LIGHT, ANSI])
def test_every_style_exists_in_every_theme(theme):
    for name in STYLE_NAMES:
        assert style(name, palette_of(theme))
        assert style(f"selected.{name}", palette_of(theme))
