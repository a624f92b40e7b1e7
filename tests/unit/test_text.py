"""Untrusted text: no control sequence survives, whatever its form."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain.text import clean, clean_line


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGk=\x07clip", "clip"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1bP+q544e\x1b\\dcs", "dcs"),
        ("\x1bc reset", " reset"),
        ("a\x00b\x07c\x08d\x7fe", "abcde"),
        ("right\u202eleft\u200b", "rightleft"),
        ("progress 10%\rprogress 20%", "progress 20%"),
        ("line\r\nnext", "line\nnext"),
        ("a\u2028b", "a\nb"),
        ("tab\tstays\nhere", "tab\tstays\nhere"),
        ("[bold]markup[/bold] stays text", "[bold]markup[/bold] stays text"),
        ("\ud800lone", "lone"),
        ("émoji 🎉 漢字", "émoji 🎉 漢字"),
    ],
)
def test_what_reaches_the_terminal(hostile: str, safe: str) -> None:
    assert clean(hostile) == safe


@given(st.text())
def test_nothing_that_controls_survives(text: str) -> None:
    result = clean(text)
    assert all(char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") for char in result)
    assert clean(result) == result


@given(st.text(), st.integers(1, 40))
def test_a_line_is_a_line_and_no_longer_than_asked(text: str, width: int) -> None:
    line = clean_line(text, width)
    assert "\n" not in line
    assert len(line) <= width
