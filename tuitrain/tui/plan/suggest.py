"""Type-ahead: which names are meant by what was typed so far."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def matches(typed: str, names: Sequence[str]) -> list[str]:
    """Names that begin with it, then those that hold its parts anywhere, then those spelt alike; all of them for nothing."""
    text = typed.strip().lower()
    if not text:
        return list(names)
    starts = [name for name in names if name.lower().startswith(text)]
    parts = text.replace("-", " ").replace("_", " ").split()
    holds = [name for name in names if name not in starts and all(part in name.lower() for part in parts)]
    found = starts + holds
    return found or difflib.get_close_matches(text, names, n=5, cutoff=0.5)
