"""Text from data, models and logs is untrusted. `clean` makes it safe to print: no control sequence reaches a terminal."""

from __future__ import annotations

import re
import unicodedata

# CSI, OSC and the other string sequences (ended by BEL or ST), two-byte escapes; 7-bit and 8-bit introducers alike.
_ESCAPE = re.compile(
    r"""
    (?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?
    | (?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?
    | \x1b[ -/]*[0-~]?
    """,
    re.VERBOSE,
)
_LINE_SEPARATORS = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\x0b": "\n", "\x0c": "\n"})


def clean(text: str) -> str:
    """The text without escape sequences, control characters (newline and tab stay) and invisible direction changes.

    A carriage return rewrites its line, as a progress bar means it to: only what follows the last one is kept.
    """
    text = _ESCAPE.sub("", text).translate(_LINE_SEPARATORS)
    if "\r" in text:
        text = "\n".join(_after_last_return(line) for line in text.split("\n"))
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))


def clean_line(text: str, width: int | None = None) -> str:
    """`clean` as one line: all white space becomes single spaces; cut to `width` with an ellipsis."""
    line = " ".join(clean(text).split())
    return line if width is None or len(line) <= width else line[: max(0, width - 1)] + "…"


def _after_last_return(line: str) -> str:
    pieces = [piece for piece in line.split("\r") if piece]
    return pieces[-1] if pieces else ""
