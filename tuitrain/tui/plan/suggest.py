"""Type-ahead: which names are meant by what was typed so far."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def matches(typed: str, names: Sequence[str]) -> list[str]:
    """Names that begin with it, then those that hold all its parts anywhere; all of them for nothing."""
    text = typed.strip().lower()
    if not text:
        return list(names)
    starts = [name for name in names if name.lower().startswith(text)]
    parts = text.replace("-", " ").replace("_", " ").split()
    holds = [name for name in names if name not in starts and all(part in name.lower() for part in parts)]
    return starts + holds


def alike(typed: str, names: Sequence[str]) -> list[str]:
    """Names spelt like it: what may have been meant, to be offered, never to be taken unasked."""
    return difflib.get_close_matches(typed.strip().lower(), names, n=5, cutoff=0.5)
