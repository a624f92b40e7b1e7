"""What a terminal is said to show."""

from __future__ import annotations

import pytest

from tuitrain.tui.terminal import can_draw, wants_ascii


@pytest.mark.parametrize(
    ("environ", "ascii_only"),
    [
        ({}, False),
        ({"LANG": "C"}, True),
        ({"LANG": "POSIX"}, True),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "en_US.utf8"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # what Python makes of LANG=C
        ({"LC_CTYPE": "C.UTF-8"}, False),
        ({"TERM": "linux", "LANG": "en_US.UTF-8"}, True),
    ],
)
def test_locale_decides(environ, ascii_only):
    assert wants_ascii(environ) is ascii_only


def test_a_dumb_terminal_or_a_pipe_is_no_place_to_draw():
    assert can_draw(stdin_is_tty=True, stdout_is_tty=True, environ={"TERM": "xterm"})
    assert not can_draw(stdin_is_tty=True, stdout_is_tty=True, environ={"TERM": "dumb"})
    assert not can_draw(stdin_is_tty=True, stdout_is_tty=False, environ={"TERM": "xterm"})
