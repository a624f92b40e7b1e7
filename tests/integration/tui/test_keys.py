"""Every action of the registry, pressed on every screen that lists it; then what each of them is for."""

from __future__ import annotations

import json

import pytest
from support.fake_runs import make_run

from tuitrain.errors import RunError
from tuitrain.tui.actions import (
    ALERTS,
    CHART,
    EXPLAIN,
    FLIGHT,
    LOG,
    PLAN,
    PLAN_EXPLAIN,
    RANKS,
    RUN,
    RUNS,
    SAMPLES,
    SCREENS,
    TOKENS,
    on_screen,
)
from tuitrain.tui.messages import JobDone
from tuitrain.tui.screens.confirm import ConfirmScreen, TypedConfirmScreen
from tuitrain.tui.screens.error import ErrorScreen
from tuitrain.tui.screens.help import HelpScreen
from tuitrain.tui.screens.run import RunScreen

from .conftest import settled, shown, until

WAY_TO = {
    RUNS: [], RUN: ["enter"], CHART: ["enter", "z"], SAMPLES: ["enter", "s"], LOG: ["enter", "l"], ALERTS: ["enter", "a"],
    EXPLAIN: ["enter", "i"], FLIGHT: ["enter", "f"], TOKENS: ["enter", "t"], PLAN: ["p"], PLAN_EXPLAIN: ["p", "i"],
    RANKS: ["enter", "k"],
}  # fmt: skip
STORIES = {TOKENS: ["tuned", "finished"], RANKS: ["ranks", "finished"]}


@pytest.fixture
def jobs(monkeypatch):
    """Stand-ins for what would start or end processes; the list of what was asked."""
    asked = []
    monkeypatch.setattr("tuitrain.runs.kill.kill", lambda run: asked.append(("kill", run.run_id)))
    monkeypatch.setattr(
        "tuitrain.tui.screens.plan_jobs.measure", lambda machine, precision: asked.append(("measure", precision)) or ""
    )
    monkeypatch.setattr("tuitrain.runs.launch.resume", lambda run: asked.append(("resume", run.run_id)))
    return asked


@pytest.mark.parametrize("where", SCREENS)
async def test_every_key_of_a_screen_does_its_action(opened, jobs, monkeypatch, where):
    """Each key once, from the screen that lists it; the method must have run, and nothing may have broken."""
    ran = []
    async with opened(STORIES.get(where, ["resumed", "finished"]), keys=WAY_TO[where]) as pilot:
        app, screen = pilot.app, pilot.app.screen
        assert where == screen.WHERE
        monkeypatch.setattr(app, "action_command_palette", lambda: ran.append("palette"))  # Textual's own ctrl+p
        actions = sorted(on_screen(where), key=lambda action: action.id in ("back", "home", "quit"))
        for action in actions:
            target = app if action.call.startswith("app.") else screen
            monkeypatch.setattr(target, f"action_{action.method}", lambda name=action.id: ran.append(name))
            for key in action.keys.split(","):
                ran.clear()
                await pilot.press(key)
                assert ran == [action.id], f"{key} on {where}"


@pytest.mark.parametrize("where", SCREENS)
async def test_every_action_of_a_screen_works(opened, jobs, monkeypatch, where):
    """The actions themselves, one after the other; after each the interface is still there."""
    monkeypatch.setattr("tuitrain.tui.screens.runs.RunsScreen.action_demo", lambda self: jobs.append(("demo", "")))
    async with opened(STORIES.get(where, ["resumed", "finished"]), keys=WAY_TO[where]) as pilot:
        app, screen = pilot.app, pilot.app.screen
        for action in sorted(on_screen(where), key=lambda action: action.id in ("back", "home", "quit")):
            if app.screen is not screen:  # back and home left it: go there again
                for key in WAY_TO[where]:
                    await pilot.press(key)
                screen = app.screen
            await screen.run_action(action.call)
            await pilot.pause()
            if action.id == "quit":
                break
            assert app.is_running, action.id
            while app.screen is not screen and len(app.screen_stack) > 1 and screen in app.screen_stack:
                app.pop_screen()
                await pilot.pause()
    assert app._exception is None


async def test_the_live_run_is_selected_and_enter_opens_it(opened):
    async with opened(["finished", "live"]) as pilot:
        assert pilot.app.home.table.selected.run_id.endswith("-live")
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(pilot.app.screen, RunScreen)
        assert pilot.app.screen.tail.run_folder.run_id.endswith("-live")


async def test_an_empty_list_offers_the_demo_and_two_commands(opened):
    async with opened([], size=(80, 24)) as pilot:
        text = shown(pilot)
        assert "Watch a 3-minute demo training" in text
        assert "the Python standard library as corpus, no download" in text
        assert "tuitrain plan" in text
        assert "tuitrain train CONFIG.toml" in text
        assert "CPU only" in text.splitlines()[0]


async def test_enter_on_the_empty_list_starts_the_demo_and_opens_it(opened, monkeypatch):
    asked = {}

    def start_demo(*, minutes, runs_root, say):
        asked.update(minutes=minutes, root=runs_root)
        say("measuring this machine")
        run, _ = make_run(runs_root, "loading")
        return run

    import sys
    import types

    monkeypatch.setitem(sys.modules, "tuitrain.runs.demo", types.SimpleNamespace(start_demo=start_demo))
    async with opened([]) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await settled(pilot)
        assert asked["minutes"] == 3.0
        assert asked["root"] == pilot.app.bridge.store.root
        assert "LOADING DATA" in shown(pilot)
        assert "waiting for the first step: loading data (41%)" in shown(pilot)


async def test_a_demo_that_cannot_start_says_why(opened, monkeypatch):
    import sys
    import types

    def start_demo(**_):
        raise RunError("the disk [bold]is[/bold] full", "free 2 GiB")

    monkeypatch.setitem(sys.modules, "tuitrain.runs.demo", types.SimpleNamespace(start_demo=start_demo))
    async with opened([]) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ErrorScreen))
        await settled(pilot)
        assert "error: the disk [bold]is[/bold] full" in shown(pilot)
        assert "hint: free 2 GiB" in shown(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert pilot.app.screen is pilot.app.home


def requests(app):
    """What was asked of the trainer of the newest run."""
    run = app.bridge.store.list()[0]
    return (
        [json.loads(line)["command"] for line in run.control_file.read_text().splitlines()] if run.control_file.exists() else []
    )


ASKED = [("live", "P", "pause"), ("paused", "P", "resume"), ("live", "S", "save")]


@pytest.mark.parametrize(("story", "key", "command"), ASKED)
@pytest.mark.parametrize("where", [RUNS, RUN, CHART])
async def test_capitals_ask_the_trainer(opened, story, key, command, where):
    async with opened([story], keys=WAY_TO[where]) as pilot:
        await pilot.press(key)
        await until(pilot, lambda: requests(pilot.app))
        assert requests(pilot.app) == [command]


async def test_stopping_tells_what_would_be_lost_and_asks_first(opened, jobs):
    async with opened(["live"], keys=["enter", "X"], total=1200) as pilot:
        assert isinstance(pilot.app.screen, ConfirmScreen)
        assert "last checkpoint step 400, 1 m 02 s ago: 92 steps would be lost" in shown(pilot)
        await pilot.press("enter")  # the first choice keeps training
        await settled(pilot)
        assert requests(pilot.app) == []
        await pilot.press("X", "down", "enter")
        await until(pilot, lambda: requests(pilot.app))
        assert requests(pilot.app) == ["stop"]
        await pilot.press("X", "up", "enter")
        await until(pilot, lambda: jobs)
        assert jobs == [("kill", "demo-20251009-085320-live")]


async def test_resume_starts_a_run_that_ended_and_refuses_a_live_one(opened, jobs):
    async with opened(["failed"], keys=["R"]) as pilot:
        await until(pilot, lambda: jobs)
        assert jobs == [("resume", "demo-20251009-085320-failed")]
    async with opened(["live"], keys=["R"]) as pilot:
        assert len(jobs) == 1
        assert any("is running" in each.message for each in pilot.app._notifications)


async def test_nothing_is_asked_of_a_run_that_ended(opened, jobs):
    async with opened(["finished"], keys=["P", "S", "X"]) as pilot:
        assert pilot.app.screen is pilot.app.home
        assert requests(pilot.app) == []
        assert len(pilot.app._notifications) == 3


async def test_deleting_needs_the_name(opened):
    async with opened(["finished"], keys=["D"]) as pilot:
        run = pilot.app.bridge.store.list()[0]
        assert isinstance(pilot.app.screen, TypedConfirmScreen)
        await pilot.press(*"demo", "enter")
        await settled(pilot)
        assert "that is not its name" in shown(pilot)
        assert run.path.is_dir()
        pilot.app.screen.query_one("Input").value = run.run_id
        await pilot.press("enter")
        await until(pilot, lambda: not run.path.exists())
        await until(pilot, lambda: pilot.app.home.is_empty)


async def test_a_live_run_is_not_deleted(opened):
    async with opened(["live"], keys=["D"]) as pilot:
        assert pilot.app.screen is pilot.app.home
        assert any("X stops it" in each.message for each in pilot.app._notifications)


async def test_escape_never_quits(opened):
    async with opened(["live"], keys=["escape", "enter", "escape", "escape", "escape"]) as pilot:
        assert pilot.app.is_running
        assert pilot.app.screen is pilot.app.home


async def test_control_c_neither_quits_nor_kills(opened):
    async with opened(["live"], keys=["ctrl+c"]) as pilot:
        assert pilot.app.is_running
        assert any("q quits" in each.message for each in pilot.app._notifications)


@pytest.mark.parametrize(("stories", "line"), [
    (["live", "paused", "finished"], "2 runs keep training; `tuitrain` re-attaches"),
    (["live"], "1 run keeps training; `tuitrain` re-attaches"),
    (["finished"], ""),
])  # fmt: skip
async def test_quitting_says_what_goes_on(opened, stories, line):
    async with opened(stories, keys=[]) as pilot:
        await pilot.press("q")
        await pilot.pause()
    assert pilot.app.exit_line == line


async def test_tab_makes_another_chart_the_large_one(opened):
    async with opened(["live"], keys=["enter", "tab"]) as pilot:
        assert "[bits/byte]" in shown(pilot)
        await pilot.press("shift+tab", "shift+tab")
        await settled(pilot)
        assert "[learning rate]" in shown(pilot)


VIEW_KEYS = (
    ("y", "robust y"),
    ("full_stop", "ema 0.95"),
    ("r", "all 1"),
    ("x", "tokens"),
    ("space", "frozen"),
    ("0", "plan 0"),
)


async def test_view_keys_change_the_view_and_say_so(opened):
    async with opened(["live"], keys=["enter"], total=1200) as pilot:
        for key, words in VIEW_KEYS:
            await pilot.press(key)
            await settled(pilot)
            assert words in shown(pilot), f"after {key}"
        await pilot.press("left")
        await settled(pilot)
        assert "step 492 · loss" in shown(pilot)
        assert requests(pilot.app) == []


async def test_the_zoomed_chart_shares_its_look_with_the_dashboard(opened):
    async with opened(["live"], keys=["enter", "z", "y", "escape"]) as pilot:
        assert isinstance(pilot.app.screen, RunScreen)
        assert "robust y" in shown(pilot)


async def test_samples_are_scrubbed(opened):
    async with opened(["finished"], keys=["enter", "left_square_bracket"]) as pilot:
        assert "samples @ step 220" in shown(pilot)
        await pilot.press("right_square_bracket")
        await settled(pilot)
        assert "samples @ step 240" in shown(pilot)


async def test_help_and_palette_know_the_screens_keys(opened):
    async with opened(["live"], keys=["enter", "question_mark"]) as pilot:
        assert isinstance(pilot.app.screen, HelpScreen)
        assert "tuitrain runs stop RUN" in shown(pilot)
        await pilot.press("escape")
        titles = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {"Pause", "Save", "Stop", "Zoom", "Quit", "Open demo-20251009-085320-live"} <= titles


async def test_an_answer_of_the_trainer_comes_up_as_a_toast(opened):
    from support.fake_runs import Clock, clocked_writer

    async with opened(["live"], keys=["enter"]) as pilot:
        await pilot.pause(0.3)
        tail = pilot.app.screen.tail
        clock = Clock(pilot.app.clock())
        with clocked_writer(tail.run_folder.events_dir / "rank00000.jsonl", clock) as writer:
            writer.emit("control_ack", step=99, id="x", command="save", ok=True, detail="saved step 99 [b]now[/b]")
        tail.wake()
        await until(pilot, lambda: any("saved step 99 [b]now[/b]" in each.message for each in pilot.app._notifications))


async def test_jobs_open_the_run_they_made(opened):
    async with opened(["finished"]) as pilot:
        run = pilot.app.bridge.store.list()[0]
        pilot.app.bridge.job("x", lambda say: JobDone("there", open_run=run.path))
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_a_bug_in_a_job_is_a_dialog_not_a_dead_screen(opened):
    async with opened(["finished"]) as pilot:
        pilot.app.bridge.job("x", lambda say: 1 / 0)
        await until(pilot, lambda: isinstance(pilot.app.screen, ErrorScreen))
        await settled(pilot)
        assert "ZeroDivisionError" in shown(pilot)


async def test_the_log_of_each_rank_is_two_keys_away(opened):
    async with opened(["ranks"], keys=["enter", "k"]) as pilot:
        text = shown(pilot)
        assert "rank 2 is slowest: the others waited for it 24% of the time" in text
        assert "1.34 GiB" in text
        await pilot.press("down")
        await settled(pilot)
        assert "log logs/rank00001.log" in shown(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "rank 1 was here" in shown(pilot))
        assert "rank 1 of 4" in shown(pilot)
        await pilot.press("right_square_bracket")
        await settled(pilot)
        assert "no log of rank 2 yet" in shown(pilot)
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until(pilot, lambda: "self-test: sdpa ok" in shown(pilot))
        assert "train.log" in shown(pilot)


async def test_one_process_has_no_ranks_to_compare(opened):
    async with opened(["live"], keys=["enter"]) as pilot:
        screen = pilot.app.screen
        assert not screen.query_one("#ranks").text
        await pilot.press("k")
        await settled(pilot)
        assert pilot.app.screen is screen
