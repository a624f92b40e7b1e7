"""The Plan screen in the running application: keys, mouse, sizes, bad input; no network, no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tuitrain.runs.machine import Machine
from tuitrain.runs.store import RunStore
from tuitrain.tui.screens.confirm import ConfirmScreen
from tuitrain.tui.screens.error import ErrorScreen
from tuitrain.tui.screens.plan import PlanScreen
from tuitrain.tui.screens.plan_explain import PlanExplainScreen
from tuitrain.tui.screens.plan_launch import PlanLaunchScreen
from tuitrain.tui.screens.run import RunScreen
from tuitrain_planners import measured

from .conftest import shown, until

MACHINE = Machine(
    cpu="a CPU", physical_cores=2, usable_cores=2, memory_bytes=16 << 30, available_bytes=8 << 30, cpu_flags=frozenset(),
    gpus=(), gpu_reason="none",
)  # fmt: skip
HERE = measured(memory_bytes=16 << 30, rates=[(64, 5e9), (384, 5e10), (1024, 9e10)])


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    """A machine that was never measured."""
    monkeypatch.setattr("tuitrain.runs.machine.this_machine", lambda: MACHINE)


@pytest.fixture
def measured_machine(monkeypatch):
    """... or was, in fp32."""
    monkeypatch.setattr(
        "tuitrain.tui.plan.this_machine.known_hardware",
        lambda machine, *, precision, **_: HERE if precision == "fp32" else None,
    )


async def type_text(pilot, text):
    """Text, key by key."""
    names = {" ": "space", "-": "minus", ".": "full_stop", "$": "dollar_sign"}
    await pilot.press(*(names.get(char, char) for char in text))


async def settled_plan(pilot):
    """Table and fix are there."""
    await until(pilot, lambda: pilot.app.screen.planning.settled or pilot.app.screen.planning.stale)
    await pilot.pause()


async def test_p_opens_the_plan_and_escape_leads_back_with_the_form_kept(opened):
    async with opened([], keys=[]) as pilot:
        await pilot.press("p")
        await settled_plan(pilot)
        assert isinstance(pilot.app.screen, PlanScreen)
        text = shown(pilot)
        for said in ("8.03B parameters", "TIGHT", "ZeRO x precision", "loss by compute", "money", "kg CO2e"):
            assert said in text, said
        await pilot.press("right", "escape")
        assert pilot.app.screen is pilot.app.home
        form = pilot.app._planning.form
        await pilot.press("2")
        assert pilot.app.screen.planning.form == form


async def test_every_keystroke_replans(opened):
    async with opened([], keys=["p"]) as pilot:
        planning = pilot.app.screen.planning
        await pilot.press("enter")
        seen = []
        for char in "qwen3":
            await pilot.press(char)
            seen.append(planning.planned.request.shape.name)
        assert seen == ["qwen1.5-moe-a2.7b"] * 4 + ["qwen3-0.6b"]
        await pilot.press("minus", "8", "b", "enter")
        assert planning.form["model"] == "qwen3-8b"
        assert "qwen3-8b" in shown(pilot)
        assert pilot.app.focused is None


async def test_letters_are_text_while_typing_and_keys_otherwise(opened):
    async with opened([], keys=["p", "enter"]) as pilot:
        await type_text(pilot, "q?fil")
        assert isinstance(pilot.app.screen, PlanScreen)
        assert pilot.app.screen.planning.editor.text == "q?fil"
        await pilot.press("escape")
        assert pilot.app.screen.planning.form["model"] == "llama-3-8b"
        await pilot.press("i")
        assert isinstance(pilot.app.screen, PlanExplainScreen)


async def test_a_digit_starts_a_number_and_a_wrong_one_is_said_under_the_field(opened):
    async with opened([], size=(80, 24), keys=["p", "down", "down", "down", "down", "down", "down"]) as pilot:
        await settled_plan(pilot)
        await type_text(pilot, "80x")
        planning = pilot.app.screen.planning
        assert planning.stale
        text = shown(pilot)
        assert "unknown count 'x'" in text
        assert "the last plan that could be made" in text
        assert planning.planned.request.seq_len == 80
        await pilot.press("enter")  # not kept
        assert planning.editor is not None
        await pilot.press("backspace", "enter")
        assert planning.form["seq"] == "80"
        assert "unknown count" not in shown(pilot)


async def test_the_last_plan_is_dimmed_beside_an_error(opened):
    async with opened([], keys=["p", "enter"]) as pilot:
        await type_text(pilot, "zzz")
        page = pilot.app.screen.query_one("#plan-page")
        assert {style for row in page.page.lines for _, style in row} == {"dim"}
        await pilot.press("escape")
        await pilot.pause()
        assert len({style for row in page.page.lines for _, style in row}) > 5


async def test_one_key_applies_the_fix_another_takes_it_back(opened):
    async with opened([], keys=["p", *["down"] * 7, *["right"] * 3]) as pilot:
        await settled_plan(pilot)
        screen = pilot.app.screen
        assert screen.planning.planned.memory.verdict == "oom"
        text = shown(pilot)
        assert "OUT OF MEMORY" in text
        assert " f  recompute none -> selective" in text
        await pilot.press("f")
        await settled_plan(pilot)
        assert screen.planning.planned.memory.verdict == "fits"
        assert "FITS" in shown(pilot)
        await pilot.press("u")
        assert screen.planning.form["micro_batch"] == "8"


async def test_tab_shows_every_pane_in_a_small_terminal(opened):
    async with opened([], size=(80, 24), keys=["p"]) as pilot:
        await settled_plan(pilot)
        assert "money" in shown(pilot)
        await pilot.press("tab")
        assert "bf16-pure" in shown(pilot)
        await pilot.press("tab")
        assert "this plan" in shown(pilot)
        await pilot.press("tab")
        assert "money" in shown(pilot)


@pytest.mark.parametrize("size", [(200, 50), (120, 40), (80, 24), (63, 20), (40, 12), (20, 6), (10, 4)])
async def test_any_size_is_drawn_and_resizes_are_followed(opened, size):
    async with opened([], keys=["p"]) as pilot:
        await pilot.resize_terminal(*size)
        await pilot.pause()
        for _ in range(4):
            assert max(map(len, shown(pilot).splitlines())) <= size[0]
            await pilot.press("tab")
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert pilot.app._exception is None


async def test_ascii_stays_ascii_while_typing_and_beside_errors(opened):
    async with opened([], ascii_only=True, keys=["p"]) as pilot:
        await settled_plan(pilot)
        assert shown(pilot).isascii()
        await pilot.press("enter", "l", "a")
        assert shown(pilot).isascii()
        await type_text(pilot, "zz")
        assert shown(pilot).isascii()
        await pilot.press("escape", "i")
        await pilot.pause()
        assert shown(pilot).isascii()


async def test_pasted_control_sequences_do_not_reach_the_screen(opened):
    from textual import events

    async with opened([], keys=["p", "enter"]) as pilot:
        pilot.app.screen.query_one("#plan-form").post_message(events.Paste("\x1b[31m[bold]evil[/]\nrm\x07"))
        await pilot.pause()
        assert "[31m[bold]evil[/] rm" in pilot.app.screen.planning.editor.text
        assert "\x1b" not in pilot.app.screen.planning.editor.text
        assert pilot.app._exception is None


async def test_explain_shows_the_tree_of_any_number(opened):
    async with opened([], keys=["p", "i"]) as pilot:
        await pilot.pause()
        text = shown(pilot)
        assert "Explain: model.parameters" in text
        assert "8.03B" in text
        names = pilot.app.screen.names
        await pilot.press("left")
        assert pilot.app.screen.index == len(names) - 1
        for _ in names:
            await pilot.press("right")
            assert pilot.app._exception is None
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, PlanScreen)


async def test_the_mouse_chooses_fields_layouts_and_numbers(opened):
    async with opened([], keys=["p"]) as pilot:
        await settled_plan(pilot)
        screen = pilot.app.screen
        await pilot.click("#plan-form", offset=(3, 9))
        assert screen.planning.current.key == "zero"
        await pilot.click("#plan-form", offset=(18, 9))
        assert screen.planning.form["zero"] == "0"
        await settled_plan(pilot)
        page = screen.query_one("#plan-page")
        cell = next(hit for hit in page.page.hits if hit.figure == "table.fp32.zero2")
        await pilot.click("#plan-page", offset=(cell.start + 1, cell.row))
        assert (screen.planning.form["zero"], screen.planning.form["precision"]) == ("2", "fp32")
        await settled_plan(pilot)
        hit = next(hit for hit in page.page.hits if hit.figure == "cost.usd")
        await pilot.click("#plan-page", offset=(hit.start, hit.row))
        assert pilot.app.screen.names[pilot.app.screen.index] == "cost.usd"


async def test_every_number_on_the_page_can_be_explained(opened):
    from tuitrain.tui.plan.explaining import explainable

    async with opened([], size=(200, 50), keys=["p"]) as pilot:
        await settled_plan(pilot)
        planning = pilot.app.screen.planning
        shown_figures = {hit.figure for hit in pilot.app.screen.query_one("#plan-page").page.hits}
        assert len(shown_figures) > 30
        assert shown_figures <= explainable(planning.planned, planning.grid).keys()


async def test_copy_shows_the_command(opened):
    async with opened([], keys=["p", "y"]) as pilot:
        await pilot.pause()
        assert pilot.app.clipboard == "tuitrain plan llama-3-8b --gpu h100-80gb --gpus 8 --zero 3 --seq 8192"
        assert "--gpu h100-80gb" in shown(pilot)


async def test_launching_what_the_trainer_cannot_train_says_why_and_offers_the_command(opened):
    async with opened([], keys=["p", "L"]) as pilot:
        await pilot.pause()
        assert isinstance(pilot.app.screen, ConfirmScreen)
        assert "not for this machine" in shown(pilot)
        await pilot.press("down", "enter")
        await pilot.pause()
        assert pilot.app.clipboard.startswith("tuitrain plan llama-3-8b")


async def test_a_machine_never_measured_is_not_measured_by_a_keystroke(opened, monkeypatch):
    asked = []
    monkeypatch.setattr("tuitrain.runs.calibration._measure", lambda *args: asked.append(args))
    monkeypatch.setattr("tuitrain.tui.screens.plan_jobs.measure", lambda machine, precision: f"measured in {precision}")
    async with opened([], keys=["p"]) as pilot:
        await until(pilot, lambda: pilot.app.this is not None)
        await pilot.press("t", "down", "down", "enter")
        await type_text(pilot, "this")
        assert "never measured in bf16-mixed" in pilot.app.screen.planning.error.message
        await pilot.press("escape")
        assert not asked
        await pilot.press("M")
        await until(pilot, lambda: any("measured in bf16-mixed" in str(each.message) for each in pilot.app._notifications))


async def test_this_machine_is_planned_written_and_started(opened, monkeypatch, measured_machine, tmp_path):
    from support.fake_runs import make_run

    started = []

    def launch_file(path, store, say):
        started.append((path, path.read_text()))
        run, _ = make_run(store.root, "loading")
        return run

    monkeypatch.setattr("tuitrain.runs.plan_launch.launch_file", launch_file)
    async with opened([], keys=["p"]) as pilot:
        await until(pilot, lambda: pilot.app.this is not None)
        await pilot.press("t")
        form = pilot.app.screen.planning.form
        assert (form["hardware"], form["precision"]) == ("this", "fp32")
        await pilot.press("L")
        await pilot.pause()
        assert isinstance(pilot.app.screen, PlanLaunchScreen)
        assert f"depth = {form['model'][1:]}" in shown(pilot)
        root = RunStore(pilot.app.bridge.store.root).root
        (root / f"{form['model']}.toml").write_text("mine")  # came into being meanwhile: not overwritten
        await pilot.press("enter")
        assert "not overwritten" in shown(pilot)
        assert (root / f"{form['model']}.toml").read_text() == "mine"
        await pilot.press(*["backspace"] * len(".toml"), "x", "full_stop", "t", "o", "m", "l", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        assert started[0][0].name == f"{form['model']}x.toml"
        assert 'corpus = "python-stdlib"' in started[0][1]


async def test_a_launch_that_fails_says_why(opened, monkeypatch, measured_machine):
    from tuitrain.errors import MissingExtraError

    def launch_file(path, store, say):
        raise MissingExtraError("torch", "train", "training")

    monkeypatch.setattr("tuitrain.runs.plan_launch.launch_file", launch_file)
    async with opened([], keys=["p"]) as pilot:
        await until(pilot, lambda: pilot.app.this is not None)
        await pilot.press("t", "L", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ErrorScreen))
        assert "pip install" in shown(pilot)


def test_the_plan_screen_needs_neither_torch_nor_a_network():
    code = """
import socket, sys
def refuse(*args, **kwargs): raise AssertionError("the network was asked")
socket.create_connection = socket.socket.connect = refuse
import asyncio, tempfile, pathlib
from tuitrain.runs.store import RunStore
from tuitrain.tui.app import TuitrainApp
async def main():
    app = TuitrainApp(store=RunStore(pathlib.Path(tempfile.mkdtemp())), describe_machine=lambda: "test")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("p", "enter", "d", "8", "enter", "f", "i")
        await pilot.pause(0.2)
asyncio.run(main())
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
