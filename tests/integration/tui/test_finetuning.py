"""Fine-tuning runs: the flight check, the token microscope, charts of preferences; every new key pressed for what it is for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tuitrain.tui.screens.error import ErrorScreen
from tuitrain.tui.screens.go_to import GoToScreen
from tuitrain.tui.screens.run import RunScreen
from tuitrain.tui.screens.tokens import TokensScreen

from .conftest import settled, shown, until

MICROSCOPE = ["enter", "t"]


def toasts(pilot):
    return [each.message for each in pilot.app._notifications]


async def press(pilot, *keys):
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


# --- the flight check -----------------------------------------------------------------------------------------------------


async def test_f_shows_the_flight_check(opened):
    async with opened(["tuned"], keys=["enter", "f"]) as pilot:
        text = shown(pilot)
        assert "1 warn, 3 ok" in text
        assert "! WARNING (1)" in text
        assert "at chats.jsonl:7, chats.jsonl:31, chats.jsonl:90" in text
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, RunScreen)


async def test_pretraining_has_no_flight_check_and_says_so(opened):
    async with opened(["live"], keys=["enter"]) as pilot:
        assert "Flight" not in shown(pilot), "no place in the footer"
        await press(pilot, "f")
        assert "pretraining has none" in shown(pilot)
        await press(pilot, "escape", "z", "f")
        assert "pretraining has none" in shown(pilot), "from the chart too"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10)])
@pytest.mark.parametrize("ascii_only", [False, True], ids=["dark", "ascii"])
async def test_a_run_that_was_not_let_start_shows_why_and_what_to_do(opened, size, ascii_only):
    async with opened(["blocked"], size=size, ascii_only=ascii_only, keys=["enter"]) as pilot:
        text = shown(pilot)
        assert "FAILED" in text
        assert "flight check: truncation: 12 of 2,000" in " ".join(text.split())
        assert "fix:" in text
        assert "R resumes it" not in text
        await press(pilot, "f")
        assert "BLOCKS THE START (1)" in shown(pilot)


async def test_a_flight_check_that_comes_later_is_seen(opened):
    async with opened(["preference"], keys=["enter"]) as pilot:
        tail = pilot.app.screen.tail
        assert len(tail.findings) == 4
        (tail.run_folder.path / "flight.json").write_text("[]")
        tail.wake()
        await until(pilot, lambda: tail.findings == ())


# --- the token microscope -------------------------------------------------------------------------------------------------


async def test_t_shows_examples_token_by_token(opened):
    async with opened(["tuned"], keys=MICROSCOPE) as pilot:
        text = shown(pilot)
        assert "[examples]" in text
        assert "example 1 of 7  chats.jsonl:1" in text
        assert "What is the capital of France?<|im_end|>" in text
        assert "35 tokens, 9 trained" in text
        assert "token 1 of 35 · '<|im_start|>' · special · id 486" in text


async def test_t_says_why_pretraining_has_no_examples(opened):
    async with opened(["live"], keys=MICROSCOPE) as pilot:
        assert isinstance(pilot.app.screen, RunScreen)
        assert any("pretraining learns from text" in each for each in toasts(pilot))


async def test_brackets_go_through_the_examples(opened):
    async with opened(["tuned"], keys=MICROSCOPE) as pilot:
        await press(pilot, "right_square_bracket", "n")
        assert "example 3 of 7" in shown(pilot)
        assert "def add(first, second):" in shown(pilot)
        await press(pilot, "left_square_bracket", "p", "p", "p")
        assert "example 1 of 7" in shown(pilot), "not before the first"


async def test_arrows_go_through_the_tokens(opened):
    async with opened(["tuned"], size=(80, 24), keys=MICROSCOPE) as pilot:
        await press(pilot, "right", "l")
        assert "token 3 of 35 · '↵' · ignored" in shown(pilot)
        await press(pilot, "h", "left", "left")
        assert "token 1 of 35" in shown(pilot)
        await press(pilot, "slash", *"6", "enter")
        for _ in range(170):
            pilot.app.screen.action_token_next()
        await press(pilot, "right")
        assert "token 172 of 177" in shown(pilot)
        assert "cut off" in shown(pilot)


@pytest.mark.parametrize("size", [(30, 8), (80, 24)])
async def test_the_cursor_stays_in_sight(opened, size):
    async with opened(["tuned"], size=size, keys=MICROSCOPE) as pilot:
        await press(pilot, "slash", *"6", "enter")
        screen = pilot.app.screen
        for _ in range(176):
            screen.action_token_next()
        await settled(pilot)
        row = screen._page.row_of[-1]
        assert screen.pager._offset <= row < screen.pager._offset + screen.pager.page
        for _ in range(176):
            screen.action_token_previous()
        assert screen.pager._offset == 0


async def test_slash_finds_by_number_and_by_text(opened):
    async with opened(["tuned"], keys=MICROSCOPE) as pilot:
        await press(pilot, "slash")
        assert isinstance(pilot.app.screen, GoToScreen)
        await press(pilot, *"99", "enter")
        assert "there are 7" in shown(pilot)
        pilot.app.screen.query_one("Input").value = "sky"
        await press(pilot, "enter")
        assert "example 7 of 7" in shown(pilot)
        await press(pilot, "slash", "2", "enter")
        assert "example 2 of 7" in shown(pilot)
        await press(pilot, "slash", *"zebra", "enter")
        assert any("no example holds 'zebra'" in each for each in toasts(pilot))
        await press(pilot, "slash", "escape")
        assert "example 2 of 7" in shown(pilot)


async def test_sequences_are_packs_with_borders_found_by_number(opened):
    async with opened(["tuned"], keys=[*MICROSCOPE, "tab"]) as pilot:
        text = shown(pilot)
        assert "[sequences]" in text
        assert "sequence 1 of 4  packed to 96 tokens" in text
        assert "── example 1 ──" in text
        assert "── example 2 ──" in text
        assert "x <|endoftext|>" in text
        await press(pilot, "slash", *"sky", "enter")
        assert "a sequence is found by its number" in shown(pilot)
        pilot.app.screen.query_one("Input").value = "3"
        await press(pilot, "enter", "right")
        assert "sequence 3 of 4" in shown(pilot)
        assert "learns nothing" in shown(pilot)


async def test_serving_stands_beside_training(opened):
    async with opened(["tuned"], keys=[*MICROSCOPE, "tab", "tab", "right_square_bracket"]) as pilot:
        text = shown(pilot)
        assert "[serving]" in text
        assert "example 2 of 7" in text
        assert "✔ identical: serving sends the 18 tokens that training saw" in text
        assert "> only training" in text
        await press(pilot, "tab", "tab")
        assert "[examples]" in shown(pilot)
        assert "example 2 of 7" in shown(pilot), "both look at the same one"


async def test_the_summary_counts_and_w_writes_it_as_a_page(opened):
    async with opened(["tuned"], keys=[*MICROSCOPE, "shift+tab"]) as pilot:
        text = shown(pilot)
        assert "[summary]" in text
        assert "sft data: 8 examples" in text
        assert "lengths in tokens" in text
        await press(pilot, "right_square_bracket", "slash", "right")
        assert "[summary]" in shown(pilot), "keys without a meaning here do nothing"
        await pilot.press("w")
        path = pilot.app.screen.run_folder.path / "examples.html"
        await until(pilot, lambda: any(each == f"wrote {path}" for each in toasts(pilot)))
        assert path.read_text().startswith("<!doctype html>")


async def test_pairs_are_two_rows(opened):
    async with opened(["preference"], keys=[*MICROSCOPE, "tab"]) as pilot:
        assert "── the better answer ──" in shown(pilot)
        assert "── the worse answer ──" in shown(pilot)
        await press(pilot, "shift+tab", "n")
        assert "pair 1, the worse answer" in shown(pilot)


async def test_examples_that_cannot_be_read_are_an_error_and_stay_one(opened):
    async with opened(["tuned"], keys=["enter"]) as pilot:
        shutil.rmtree(Path("base"))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, ErrorScreen))
        await settled(pilot)
        assert "error: the base this run was made with is gone" in shown(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, TokensScreen)
        assert "these examples cannot be read" in shown(pilot)
        await press(pilot, "tab", "tab", "tab", "n", "slash", "right", "w")
        assert "these examples cannot be read" in shown(pilot)


async def test_what_is_read_is_said_meanwhile_and_leaving_ends_it(opened, monkeypatch):
    import threading

    go_on, ended = threading.Event(), threading.Event()

    def slowly(run, say):
        say("tokenize 50 of 200 examples (25%)")
        go_on.wait(10)
        try:
            say("more")
        finally:
            ended.set()

    monkeypatch.setattr("tuitrain.tui.tokens.reading.read_examples", slowly)
    async with opened(["tuned"], keys=["enter"]) as pilot:
        await pilot.press("t")
        await until(pilot, lambda: "tokenize 50 of 200 examples (25%)" in shown(pilot))
        await pilot.press("escape")
        await pilot.pause()
        go_on.set()
        await until(pilot, ended.is_set)
        await settled(pilot)
        assert isinstance(pilot.app.screen, RunScreen), "no error of a reading nobody waits for"


@pytest.mark.parametrize(("size", "ascii_only"), [((80, 24), True), ((120, 40), False), ((30, 8), True)])
async def test_what_examples_say_never_reaches_the_terminal(opened, size, ascii_only):
    async with opened(["tuned"], size=size, ascii_only=ascii_only, keys=MICROSCOPE) as pilot:
        screen = pilot.app.screen
        for key in ["n"] * 4 + ["tab"] + ["p", "n", "n", "n", "n"] + ["tab", "p", "tab", "pagedown"]:
            strips = screen._compositor.render_strips()
            text = "".join(segment.text for row in strips for segment in row)
            assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text)
            assert "\u202e" not in text
            assert not any(segment.style and segment.style.meta.get("@click") for row in strips for segment in row)
            assert all(sum(segment.cell_length for segment in row) == size[0] for row in strips)
            if ascii_only:
                assert text.isascii(), sorted({char for char in text if not char.isascii()})
            await press(pilot, key)


async def test_without_colour_brackets_tell(opened, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(["tuned"], keys=MICROSCOPE) as pilot:
        text = shown(pilot)
        assert "[Paris│,│ on│ the│ Sein│e│.][{<|im_end|>}]" in text
        assert "[trained]" in text
        assert "{special}" in text
        await press(pilot, "c")
        assert "Paris, on the Seine.<|im_end|>" in shown(pilot), "a theme with colours needs none"


# --- preferences ----------------------------------------------------------------------------------------------------------


async def test_a_preference_run_has_charts_of_its_own(opened):
    async with opened(["preference"], keys=["enter"]) as pilot:
        text = shown(pilot)
        for words in ("margin", "accuracy", "eval ", "f Flight", "t Tokens"):
            assert words in text, words
        assert "bits/byte" not in text
        await press(pilot, "tab")
        assert "[margin]" in shown(pilot)
        assert "━ better" in shown(pilot)
        await press(pilot, "z")
        assert "[margin]" in shown(pilot)
        await press(pilot, "escape", "i", "right")
        assert "Reward of the better answers less that of the worse ones" in " ".join(shown(pilot).replace("│", " ").split())


async def test_a_question_and_its_answer_are_told_apart(opened):
    async with opened(["tuned"], keys=["enter", "s"]) as pilot:
        rows = [row.strip("│ ") for row in shown(pilot).splitlines()]
        at = rows.index("What is the name of the river that flows through the capital of France, and where does it rise?")
        assert rows[at + 1].startswith("It is called the Seine.")
