"""Tokens as lines: nothing is lost, kinds are told with and without colour, borders and the cursor stand where they belong."""

from __future__ import annotations

import re

import pytest

from tuitrain.data.inspect.token_diff import diff_tokens
from tuitrain.data.inspect.token_view import view_tokens
from tuitrain.tui.render.glyphs import ASCII, UNICODE
from tuitrain.tui.render.spans import line_width, plain
from tuitrain.tui.render.token_diff import diff_legend, diff_lines
from tuitrain.tui.render.tokens import KINDS, about_token, legend, token_page
from tuitrain.tui.theme import STYLE_NAMES

NAMES = ["<s>", "What", " is", " it", "?", "\n", "Pa", "ris", ".", "</s>", "<pad>", "\t", "漢字", "\x1b[31m", "é", "x" * 90]
SPECIAL = {0, 9, 10}
WIDTHS = [8, 20, 37, 78, 196]


def decode(number):
    return NAMES[number]


def view_of_ids(ids, trained=(), **more):
    marks = [place in trained for place in range(len(ids))]
    return view_tokens(ids, marks, decode, special_ids=SPECIAL, **more).to_dict()


EVERYTHING = view_of_ids(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 5, 0, 1, 11, 12, 13, 14, 15, 9, 10, 10, 10, 10, 10],
    trained={6, 7, 8, 9, 14, 15, 16, 17, 18}, documents=[0] * 11 + [1] * 8 + [-1] * 5,
)  # fmt: skip
CUT = view_of_ids([0, 1, 2, 6, 7, 9], trained={3, 4, 5}, kept=4)


@pytest.mark.parametrize("marks", [False, True], ids=["colour", "marks"])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view", [EVERYTHING, CUT], ids=["packed", "cut"])
def test_lines_keep_their_width_and_styles_are_known(view, width, glyphs, marks):
    for cursor in range(len(view["spans"])):
        page = token_page(view, width, glyphs, marks=marks, cursor=cursor, names={"document": ("example",)})
        assert max(map(line_width, page.lines)) <= width
        assert {style for row in page.lines for _, style in row} <= STYLE_NAMES
        assert len(page.row_of) == len(view["spans"])
        assert page.row_of == sorted(page.row_of)
        assert any(style == "token.cursor" for _, style in page.lines[page.row_of[cursor]]), "the cursor's own line"
        text = plain(page.lines)
        assert not any(ord(char) < 32 and char != "\n" for char in text)
        if glyphs.ascii_only:
            assert text.isascii()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_token_is_there_in_its_order(width):
    page = token_page(EVERYTHING, width, UNICODE, marks=False)
    shown = "".join(text for row in page.lines for text, style in row if style.startswith("token."))
    drawn = "".join(text for text, kind, _ in EVERYTHING["spans"] if kind != "pad").replace("\n", "")
    assert shown == drawn + " 5 x <pad> "


def test_without_colour_marks_tell_the_kinds():
    text = plain(token_page(EVERYTHING, 60, ASCII, marks=True, names={"document": ("example",)}).lines, ASCII)
    assert text.splitlines()[0].startswith("-- example 1 ---")
    assert "{<s>}What| is| it|?|\\n" in text
    assert "[Pa|ris|.][{</s>}]" in text
    assert "(5 x <pad>)" in text
    assert "[\\t|" not in text, "an ignored tab"
    assert text.count("-- example") == 2
    cut = plain(token_page(CUT, 60, ASCII, marks=True).lines, ASCII)
    assert cut == "{<s>}What| is[Pa]~ris|</s>~"


def test_neighbours_differ_in_colour():
    row = token_page(view_of_ids([6, 7, 8], trained={0, 1, 2}), 60, UNICODE, marks=False).lines[0]
    assert [style for _, style in row] == ["token.trained", "token.trained.odd", "token.trained"]


def test_little_padding_is_drawn_and_much_is_counted():
    few = plain(token_page(view_of_ids([6, 10, 10], documents=[0, -1, -1]), 60, UNICODE, marks=True).lines)
    assert few == "Pa(<pad>│<pad>)"
    many = view_of_ids([6] + [10] * 2000, documents=[0] + [-1] * 2000)
    page = token_page(many, 60, UNICODE, marks=True, cursor=1500)
    assert plain(page.lines) == "Pa(>2,000 x <pad><)"
    assert len(page.row_of) == 2001


def test_rows_of_a_pair_bear_their_names():
    view = view_of_ids([6, 7, 6, 8], packs=[0, 0, 1, 1])
    text = plain(token_page(view, 40, UNICODE, marks=False, names={"pack": ("the better answer", "the worse answer")}).lines)
    assert [row.strip("─ ") for row in text.splitlines()] == ["the better answer", "Paris", "the worse answer", "Pa."]


def test_the_legend_names_what_occurs():
    text = plain([legend(EVERYTHING, 100, marks=True)])
    assert "[trained] 7" in text
    assert "(padding) 5" in text
    assert "cut off" not in text
    for width in (20, 40, 78, 120):
        for marks in (False, True):
            assert line_width(legend(EVERYTHING, width, marks=marks)) == width
    every = {"spans": [["x", kind, 1] for kind in KINDS] * 1000, "boundaries": []}
    assert not re.search(r"\d", plain([legend(every, 80, marks=True)])), "narrow: the names stay, the numbers go"
    assert "~cut off~" in plain([legend(every, 80, marks=True)])


def test_one_token_is_told_in_a_line():
    text = plain([about_token(EVERYTHING, 7, 100, UNICODE)])
    assert text == "token 8 of 24 · 'ris' · trained · id 7"
    assert "learns 'Pa' · id 1 · position 3" in plain([about_token(EVERYTHING, 1, 100, UNICODE, "Pa", 3)])
    assert "learns nothing" in plain([about_token(EVERYTHING, 1, 100, UNICODE, None, 3)])
    assert "learns" not in plain([about_token(EVERYTHING, 20, 100, UNICODE, None, 3)]), "padding"
    for width in (10, 30, 50):
        assert line_width(about_token(EVERYTHING, 1, width, UNICODE, "Pa", 3)) == width


def test_an_empty_view_is_a_blank_line():
    page = token_page(view_of_ids([]), 40, UNICODE, marks=False)
    assert page.lines == [()]
    assert page.row_of == []


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [40, 78, 196])
def test_a_difference_is_shown_in_its_place(width, glyphs):
    serving, training = [0, 1, 2, 3, 4] + [2] * 30 + [6], [0, 1, 2, 3, 4, 5] + [2] * 30 + [7]
    rows = diff_lines(diff_tokens(serving, training, decode).to_dict(), width, glyphs)
    assert max(map(line_width, rows[1:])) <= width
    assert {style for row in rows for _, style in row} <= STYLE_NAMES
    text = plain(rows, glyphs)
    assert "they differ from token 6 on, in 2 places: 36 tokens when serving, 37 in training" in text
    assert " > " in text
    assert " ! " in text
    assert "... 22 equal ..." in text
    if glyphs.ascii_only:
        assert text.isascii()
        assert "_is" in text, "spaces are marked"


def test_equal_sides_are_shown_whole():
    text = plain(diff_lines(diff_tokens([2] * 60, [2] * 60, decode).to_dict(), 80, UNICODE))
    assert text.splitlines()[0] == "✔ identical: serving sends the 60 tokens that training saw"
    assert len(text.splitlines()) == 63
    assert "equal ..." not in text
    assert plain([diff_legend(60)]) == " = same  ! differs  < only serving  > only training"
