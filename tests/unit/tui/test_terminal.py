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


class Stream:
    def __init__(self, tty):
        self.tty = tty

    def isatty(self):
        return self.tty


@pytest.mark.parametrize("redirected", [0, 1, 2])
def test_a_dumb_terminal_or_a_redirected_stream_is_no_place_to_draw(redirected):
    streams = [Stream(True), Stream(True), Stream(True)]
    assert can_draw(streams, {"TERM": "xterm"})
    assert not can_draw(streams, {"TERM": "dumb"})
    streams[redirected] = Stream(False)
    assert not can_draw(streams, {"TERM": "xterm"})
    streams[redirected] = None  # a closed one
    assert not can_draw(streams, {"TERM": "xterm"})
