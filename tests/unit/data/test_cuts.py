"""Cuts: nothing is lost, pieces are bounded, and the tokens of the pieces are the tokens of the text."""

from __future__ import annotations

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain.data import cuts
from tuitrain.data.bpe import PATTERN
from tuitrain.data.published import PATTERNS

WORDS = ["a", "word", "x1", "'s", "\u4e2d", "\u0301", "9", "1234", ".", "):", "/", "//", "_"]
SPACES = [" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u2028", "\x1c", "\x85"]
spaced = st.lists(st.sampled_from(WORDS + SPACES + [" "] * 6), max_size=60).map("".join)


@pytest.fixture(scope="module")
def encodings():
    """A vocabulary of single bytes and of every pair: a boundary that moves shows in the ids."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {bytes([left, right]): 256 + 256 * left + right for left in range(256) for right in range(256)}
    patterns = {"own": PATTERN} | PATTERNS
    return {
        name: tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        for name, pattern in patterns.items()
    }


@given(text=spaced, size=st.integers(2, 12))
@settings(deadline=None, max_examples=300)
def test_cutting_loses_nothing_and_bounds_pieces(text, size):
    pieces = cuts.cut(text, size)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= size for piece in pieces) or not text


@given(text=spaced, size=st.integers(4, 24))
@settings(deadline=None, max_examples=600)
def test_tokens_are_the_same_where_safe_places_were_found(encodings, text, size):
    pieces = cuts.cut(text, size)
    start, arbitrary = 0, False
    for piece in pieces[:-1]:
        end = start + len(piece)
        safe = [place for place in range(start + 1, start + size + 1) if _is_safe(text, start, place)]
        assert end in (safe or [start + size])
        start, arbitrary = end, arbitrary or not safe
    if arbitrary:
        return  # only the bytes are promised
    for name, encoding in encodings.items():
        joined = [number for piece in pieces for number in encoding.encode_ordinary(piece)]
        assert joined == encoding.encode_ordinary(text), f"{name}: {pieces}"


def _is_safe(text, start, end):
    before, after = text[end - 1], text[end]
    if after == " ":
        return not before.isspace() and end + 1 < len(text) and not text[end + 1].isspace()
    return before == "\n" and end - 2 >= start and not text[end - 2].isspace() and not after.isspace() and after != "/"


@pytest.mark.parametrize("unit", ["a", " ", "\n", "\u4e2d", "a b", "  x"])
def test_long_runs_give_bounded_pieces(unit):
    text = unit * 50_000
    pieces = cuts.cut(text)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= cuts.PIECE_CHARS
    assert len(pieces) < 2 * len(text) / cuts.PIECE_CHARS + 2


def test_short_texts_are_not_cut():
    assert cuts.cut("x y\nz") == ["x y\nz"]
    assert cuts.cut("") == [""]
