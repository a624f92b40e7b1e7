"""Lines keep their width whatever is written in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuitrain.text import clean
from tuitrain.tui.render.glyphs import ASCII, UNICODE, to_ascii
from tuitrain.tui.render.panes import fill, wrap
from tuitrain.tui.render.spans import cut_text, fit, frame, line_width, plain, spread, text_width

TEXT = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("漢字かなé\u0301│⣿"), max_size=40)


@given(TEXT, st.integers(0, 30))
def test_fit_is_exact(text, width):
    assert line_width(fit(((clean(text).replace("\n", " ").replace("\t", " "), "text"),), width)) == width


@given(TEXT, st.integers(0, 20))
def test_cut_never_exceeds(text, width):
    assert text_width(cut_text(text, width, "…")) <= max(width, 0)


def test_wide_characters_take_two_cells():
    assert text_width("漢字") == 4
    assert text_width("e\u0301") == 1
    assert cut_text("漢字", 3) == "漢"


def test_frames_are_rectangles():
    rows = frame([(("漢字 and a line that is much too long for it", "text"),)], 20, 5, UNICODE, title=(("title", "title"),))
    assert [line_width(row) for row in rows] == [20] * 5
    assert frame([], 12, 3, ASCII, title=(("t", "title"),))[0][0][0] == "+"


def test_spread_gives_up_the_right_part_when_it_does_not_fit():
    assert plain([spread((("left", "a"),), (("right", "b"),), 12)]) == "left   right"
    assert plain([spread((("left", "a"),), (("right", "b"),), 8)]) == "left"


def test_ascii_is_ascii():
    assert to_ascii("a · b \u2013 c … é ⣿") == "a | b - c ~ ? ?"


@given(TEXT, st.integers(2, 30))
def test_wrapping_loses_nothing_but_never_exceeds(text, width):
    rows = wrap(text, width)
    assert all(text_width(row) <= width for row in rows)
    assert "".join(rows) == clean(text).expandtabs(4).replace("\n", "")


def test_prose_breaks_between_words():
    assert fill("the last 500 steps of it", 12) == ["the last 500", "steps of it"]
    assert fill("  indented words stay", 12) == ["  indented", "  words stay"]
