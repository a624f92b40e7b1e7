"""What the terminal can show, from the environment alone. Must not import Textual: the plain path asks too."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import IO


def wants_ascii(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the terminal is said not to show UTF-8: a C, POSIX or 8-bit locale, or the Linux console, which has no braille.

    Python turns LANG=C into LC_CTYPE=C.UTF-8 before we see it (PEP 538), so LANG is asked first where LC_ALL is silent. No
    locale at all, as in most containers, says nothing about the terminal: UTF-8 is assumed.
    """
    environ = os.environ if environ is None else environ
    if environ.get("TERM") == "linux":
        return True
    said = environ.get("LC_ALL", "")
    if not said:
        lang, ctype = environ.get("LANG", ""), environ.get("LC_CTYPE", "")
        said = lang if ctype in ("", "C.UTF-8", "C.utf8", "UTF-8") else ctype
    return bool(said) and "utf" not in said.lower().replace("-", "")


def can_draw(streams: Iterable[IO[str] | None], environ: Mapping[str, str] | None = None) -> bool:
    """Whether a full-screen interface can be drawn: every stream is a terminal, and not one that says it is dumb.

    All three streams count: keys come from stdin, Textual draws on stderr, and a redirected stdout means a program reads.
    """
    environ = os.environ if environ is None else environ
    return environ.get("TERM") != "dumb" and all(each is not None and each.isatty() for each in streams)
