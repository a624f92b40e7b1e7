"""stderr: what is said about the work, and how it failed. `error: what, with values`, a blank line, `hint: what to do`."""

from __future__ import annotations

import os
import sys

from tuitrain.text import clean


def say(message: str) -> None:
    """One line of talk."""
    print(clean(message), file=sys.stderr, flush=True)


def fail(message: str, hint: str = "") -> None:
    """An error, readable without colour."""
    red, dim, plain = ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if _colour() else ("", "", "")
    print(f"{red}error:{plain} {clean(message)}", file=sys.stderr)
    if hint:
        print(f"\n{dim}hint:{plain} {clean(hint)}", file=sys.stderr)
    sys.stderr.flush()


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
