"""Token views: kinds, borders, characters that several tokens share, and the alignment of serving with training."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain.data.inspect.token_diff import diff_tokens
from tuitrain.data.inspect.token_view import Boundary, view_tokens
from tuitrain.data.inspect.visible import CONTINUED, NEWLINE, TAB, encode, visible, visible_pieces


def byte_of(token):
    return bytes([token])


def texts_of(view):
    return [span.text for span in view.spans]


def test_kinds():
    view = view_tokens(
        [1, 97, 98, 2, 99, 0, 3], [False, False, True, True, True, False, True], lambda token: f"t{token}",
        documents=[0, 0, 0, 0, 0, -1, 0], special_ids={1, 2}, kept=6,
    )  # fmt: skip
    assert [span.kind for span in view.spans] == [
        "special-ignored", "ignored", "trained", "special-trained", "trained", "pad", "truncated",
    ]  # fmt: skip
    assert [span.id for span in view.spans] == [1, 97, 98, 2, 99, 0, 3]
    assert view.counts()["trained"] == 2


def test_borders_of_documents_and_packs():
    view = view_tokens(
        np.arange(97, 105), np.zeros(8, np.bool_), byte_of,
        documents=np.array([0, 0, 1, -1, 0, 1, 1, -1]), packs=np.array([0, 0, 0, 0, 1, 1, 1, 1]),
    )  # fmt: skip
    assert view.boundaries == (
        Boundary(index=0, kind="pack"), Boundary(index=2, kind="document"),
        Boundary(index=4, kind="pack"), Boundary(index=5, kind="document"),
    )  # fmt: skip
    assert [(run.text, run.kind, run.count, run.border) for run in view.runs()] == [
        ("ab", "ignored", 2, "pack"), ("c", "ignored", 1, "document"), ("d", "pad", 1, None),
        ("e", "ignored", 1, "pack"), ("fg", "ignored", 2, "document"), ("h", "pad", 1, None),
    ]  # fmt: skip


def test_a_character_over_several_tokens_is_whole_in_the_first():
    ids = list("a\u6f22!".encode())
    view = view_tokens(ids, [True] * len(ids), byte_of)
    assert texts_of(view) == ["a", "\u6f22", CONTINUED, CONTINUED, "!"]
    assert [run.text for run in view.runs()] == ["a\u6f22!"]


def test_a_character_cut_by_a_change_of_kind_or_a_border_shows_its_bytes():
    ids = list("\u6f22".encode())
    assert texts_of(view_tokens(ids, [True, True, False], byte_of)) == ["\\xe6", "\\xbc", "\\xa2"]
    assert texts_of(view_tokens(ids, [True] * 3, byte_of, documents=[0, 1, 1])) == ["\\xe6", "\\xbc", "\\xa2"]
    assert texts_of(view_tokens(ids, [True] * 3, byte_of, kept=2)) == ["\\xe6", "\\xbc", "\\xa2"]


def test_pieces_may_be_text_with_surrogate_escapes():
    assert visible_pieces(["\udce6\udcbc", "\udca2 x", "\udcff"]) == ["\u6f22", " x", "\\xff"]


def test_a_decoder_that_loses_bytes_shows_no_garbage():
    assert texts_of(view_tokens([1, 2], [True, True], lambda token: "\ufffd")) == ["\\ufffd", "\\ufffd"]


def test_nothing_is_shown_as_the_id():
    assert texts_of(view_tokens([7], [False], lambda token: b"", special_ids=[7])) == ["<7>"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", f"a{NEWLINE}\nb"),
        ("\tx", f"{TAB}x"),
        ("\x1b[31m", "\u241b[31m"),
        ("\r\x00\x7f", "\u240d\u2400\u2421"),
        ("\x85\x9b", "\\u0085\\u009b"),
        ("a\u202eb\u200f\ufeff", "a\\u202eb\\u200f\\ufeff"),
        ("\u2028\u00a0\u3000", "\\u2028\\u00a0\\u3000"),
        ("\U000e0041", "\\U000e0041"),
        ("\u00e9 \u6f22 \U0001f389 \u05d0", "\u00e9 \u6f22 \U0001f389 \u05d0"),
    ],
)
def test_visible_forms(text, shown):
    assert visible(text) == shown


def test_spaces_and_lines_for_one_line():
    assert visible(" a\n", spaces=True, lines=False) == f"\u00b7a{NEWLINE}"


@given(st.text(st.characters(exclude_categories=[])) | st.binary())
def test_nothing_that_controls_is_left(piece):
    for text in visible_pieces([piece, b"end"]):
        assert all(char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in text)
        assert "\n" not in text.replace(f"{NEWLINE}\n", "")


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), st.data())
def test_wherever_text_is_cut_its_characters_stay_whole(text, data):
    raw = text.encode()
    cuts = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw))))})
    pieces = [raw[start:stop] for start, stop in pairwise(cuts)]
    shown = "".join(each for each in visible_pieces(pieces) if each != CONTINUED)
    assert CONTINUED in text or shown == visible(text)


@given(st.binary())
def test_encoding_gives_back_the_bytes(raw):
    assert encode(raw.decode("utf-8", "surrogateescape")) == raw


def test_a_difference_is_found_where_it_is():
    diff = diff_tokens(list(b"<u>\nHi<a>"), list(b"<u> Hi<a>!"), byte_of)
    assert not diff.identical
    assert diff.common_prefix == 3
    first = diff.first_difference
    assert first is not None
    assert (first.change, first.serving_text, first.training_text, first.serving_index) == ("replace", NEWLINE, "\u00b7", 3)
    assert (diff.rows[-1].change, diff.rows[-1].training_text, diff.rows[-1].serving_id) == ("insert", "!", None)


def test_equal_sequences_have_no_difference():
    diff = diff_tokens([1, 2, 3], np.array([1, 2, 3]))
    assert (diff.identical, diff.common_prefix, diff.first_difference) == (True, 3, None)
    assert diff_tokens([], []).rows == ()


@given(st.lists(st.integers(0, 4), max_size=40), st.lists(st.integers(0, 4), max_size=40))
def test_rows_hold_every_token_of_both_once_and_in_order(serving, training):
    diff = diff_tokens(serving, training)
    assert [row.serving_id for row in diff.rows if row.serving_index is not None] == serving
    assert [row.training_id for row in diff.rows if row.training_index is not None] == training
    for row in diff.rows:
        assert (row.serving_id == row.training_id) == (row.change == "equal")
        assert (row.serving_index is None) == (row.change == "insert")
        assert (row.training_index is None) == (row.change == "delete")
    assert all(row.change == "equal" for row in diff.rows[: diff.common_prefix])
    assert json.loads(json.dumps(diff.to_dict())) == diff.to_dict()
