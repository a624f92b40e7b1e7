"""What is on the screen at which size, and that nothing of it can be taken over by what a model or a log says."""

from __future__ import annotations

import pytest
from support.fake_runs import Clock, clocked_writer, step_fields

from tuitrain.tui.screens.run import RunScreen
from tuitrain.tui.widgets.chart_pane import ChartPane

from .conftest import make_app, settled, shown, until


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize(
    "keys", [[], ["enter"], ["enter", "z"], ["enter", "s"], ["enter", "l"], ["enter", "a"], ["enter", "i"], ["enter", "f"]]
)
async def test_hostile_text_never_reaches_the_terminal(opened, keys, ascii_only):
    async with opened(["hostile"], keys=keys, ascii_only=ascii_only) as pilot:
        strips = pilot.app.screen._compositor.render_strips()
        text = "".join(segment.text for row in strips for segment in row)
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text)
        assert "\u202e" not in text
        assert "owned" not in text
        assert not any(segment.style and segment.style.meta.get("@click") for row in strips for segment in row)
        if ascii_only:
            assert text.isascii(), sorted({char for char in text if not char.isascii()})


@pytest.mark.parametrize(
    "keys", [["question_mark"], ["X"], ["enter"], ["enter", "question_mark"], ["colon"], ["enter", "colon"], ["enter", "X"]]
)
async def test_ascii_screens_are_ascii(opened, keys):
    async with opened(["live", "finished"], keys=keys, ascii_only=True) as pilot:
        text = shown(pilot)
        assert text.isascii(), sorted({char for char in text if not char.isascii()})


async def test_toasts_show_data_as_data(opened):
    async with opened(["live"], ascii_only=True) as pilot:
        pilot.app.say("\x1b[31mred\x1b[0m [bold]x[/bold] \u202eé\nnext")
        await pilot.pause()
        assert [each.message for each in pilot.app._notifications] == ["red [bold]x[/bold] ? next"]


async def test_wide_layout_has_charts_side_by_side_with_log_and_samples(opened):
    async with opened(["live"], size=(120, 40), keys=["enter"]) as pilot:
        text = shown(pilot)
        for words in ("● RUNNING", "plan 13.6k", "[loss]", "grad norm", "tok/s", "! 1 alert", "log ─", "samples @ step"):
            assert words in text, words
        assert sum(pane.size.area > 0 for pane in pilot.app.screen.query(ChartPane)) == 3


async def test_huge_layout_has_five_charts(opened):
    async with opened(["live"], size=(200, 50), keys=["enter"]) as pilot:
        assert sum(pane.size.area > 0 for pane in pilot.app.screen.query(ChartPane)) == 5


async def test_small_layout_has_one_chart_with_tabs_and_three_lines_of_log(opened):
    async with opened(["live"], size=(80, 24), keys=["enter"]) as pilot:
        screen, text = pilot.app.screen, shown(pilot)
        charts = [pane for pane in screen.query(ChartPane) if pane.size.area]
        assert len(charts) == 1
        assert charts[0].size.height >= 10
        assert "[loss]" in text
        assert screen.query_one("#tiles").size.height == 1
        assert screen.query_one("#log").size.height == 5
        assert screen.query_one("#sample").size.area == 0


@pytest.mark.parametrize("size", [(50, 24), (80, 12), (40, 10)])
async def test_tiny_terminals_get_a_card(opened, size):
    async with opened(["live"], size=size, keys=["enter"]) as pilot:
        text = shown(pilot)
        assert "tok/s" in text
        assert "RUNNING" in text
        if size[1] >= 12:
            assert "enlarge to 80x24 for charts" in text


async def test_layout_follows_a_resize(opened):
    async with opened(["live"], size=(120, 40), keys=["enter"]) as pilot:
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert sum(pane.size.area > 0 for pane in pilot.app.screen.query(ChartPane)) == 1
        await pilot.resize_terminal(40, 10)
        await settled(pilot)
        assert "tok/s" in shown(pilot)
        await pilot.resize_terminal(200, 50)
        await settled(pilot)
        assert sum(pane.size.area > 0 for pane in pilot.app.screen.query(ChartPane)) == 5


async def test_new_steps_show_up_and_an_unchanged_run_is_not_painted_again(opened):
    async with opened(["live"], keys=["enter"]) as pilot:
        screen = pilot.app.screen
        main = screen.query_one("#main", ChartPane)
        built = main.builds
        await pilot.pause(0.6)
        assert main.builds == built, "charts were rebuilt though nothing changed"
        clock = Clock(pilot.app.clock())
        with clocked_writer(screen.tail.run_folder.events_dir / "rank00000.jsonl", clock) as writer:
            writer.emit("step", step=99, **step_fields(99, 240, 2.5, 0.66, 1.0))
        screen.tail.wake()
        await until(pilot, lambda: "step 99/240" in shown(pilot))
        assert main.builds > built


async def test_a_run_that_resumes_elsewhere_is_followed(opened):
    async with opened(["live"], keys=["enter"]) as pilot:
        screen = pilot.app.screen
        clock = Clock(pilot.app.clock())
        with clocked_writer(screen.tail.run_folder.events_dir / "rank00000.jsonl", clock) as writer:
            writer.emit(
                "run_start",
                step=80,
                attempt=2,
                resumed_from_step=80,
                total_steps=240,
                tokens_per_step=8192,
                total_tokens=240 * 8192,
            )
            writer.emit("step", step=81, **step_fields(81, 240, 2.5, 0.66, 1.0))
        screen.tail.wake()
        await until(pilot, lambda: "step 81/240" in shown(pilot))
        assert "resume" in shown(pilot), "the mark's legend"


async def test_a_hidden_dashboard_rests(opened):
    async with opened(["live"], keys=["enter"]) as pilot:
        dashboard = pilot.app.screen
        await pilot.press("l")
        await pilot.pause()
        assert not dashboard.tail.visible
        await pilot.press("escape")
        await pilot.pause()
        assert dashboard.tail.visible
        assert pilot.app.screen is dashboard


async def test_leaving_a_dashboard_ends_its_thread(opened):
    async with opened(["live"], keys=["enter"]) as pilot:
        tail = pilot.app.screen.tail
        await pilot.press("escape")
        await until(pilot, lambda: not tail.is_alive())
        assert pilot.app.screen is pilot.app.home


async def test_a_run_given_at_start_is_open_at_once(tmp_path):
    app, _ = make_app(tmp_path / "runs", ["live", "finished"], run_id="finished")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, RunScreen)
        assert "FINISHED" in shown(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert app.screen is app.home


async def test_the_list_previews_the_selected_run(opened):
    async with opened(["live", "failed"]) as pilot:
        assert "11.2M parameters" in shown(pilot)
        await pilot.press("down")
        await settled(pilot)
        assert "loss is not finite for 5 steps" in shown(pilot)


async def test_many_runs_scroll_with_the_selection(opened, tmp_path):
    from support.fake_runs import make_run

    root = tmp_path / "runs"
    for index in range(40):
        make_run(root, "fresh", name=f"run-{index:02d}", created=100 + index)
    async with opened(["finished"], size=(80, 24)) as pilot:
        await pilot.press("G")
        await settled(pilot)
        assert "FINISHED" in shown(pilot)
        await pilot.press("g")
        await settled(pilot)
        assert "run-39" in shown(pilot)


async def test_clicks_do_what_keys_do(opened):
    async with opened(["live"], keys=["enter"]) as pilot:
        screen = pilot.app.screen
        await pilot.click("#side-0", offset=(5, 3))
        await settled(pilot)
        assert screen.look.active == "grad"
        await pilot.click("#main", offset=(30, 5))
        await settled(pilot)
        assert screen.look.options.cursor_step is not None
        start, _ = screen.query_one("#footer")._places["log"]
        await pilot.click("#footer", offset=(start + 1, 0))
        await pilot.pause()
        assert pilot.app.screen.WHERE == "log"


async def test_colours_change_without_a_restart(opened):
    async with opened(["live"], keys=["enter"]) as pilot:
        seen = {pilot.app.theme}
        for _ in range(2):
            await pilot.press("c")
            await settled(pilot)
            seen.add(pilot.app.theme)
        assert seen == {"tuitrain-dark", "tuitrain-light", "tuitrain-ansi"}


async def test_the_tiles_of_a_finished_run_opened_directly_show_their_numbers(tmp_path):
    app, _ = make_app(tmp_path / "runs", ["finished"], run_id="demo-20251009-085320-finished")
    async with app.run_test(size=(140, 44)) as pilot:
        await until(pilot, lambda: app.screen.query("#tiles"))
        tiles = app.screen.query_one("#tiles")
        await until(pilot, lambda: tiles.size.height == 4)
