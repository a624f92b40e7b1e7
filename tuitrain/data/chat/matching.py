"""Which formats the first rows of a source could have, and in which columns. Nothing is decided here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuitrain.data.chat.columns import FORMATS, MISSING, NAMES, described, fits, lookup
from tuitrain.text import clean_line

Values = Mapping[str, Any]
Match = tuple[dict[str, str], int]
"""Columns by slot, and how many rows have them all."""


def matches(rows: Sequence[Values], formats: Iterable[str], columns: Mapping[str, str]) -> dict[str, Match]:
    """What is left of `formats`: those that at least half of the rows have."""
    for allow_null in (False, True):  # a column that is null in every row tells nothing, unless there is nothing else
        found = {each: match for each in formats if (match := _best(rows, each, columns, allow_null)) is not None}
        if found:
            return _narrowed(found, columns)
    return {}


def optional_columns(rows: Sequence[Values], kind: str, required: Values, columns: Mapping[str, str]) -> dict[str, str]:
    """Slots that a row may fill, where some row does, or a later one may: the column is there, and null so far."""
    slots = FORMATS[kind].optional + (("input",) if "instruction" in required and FORMATS[kind].prompted else ())
    found = {slot: columns[slot] for slot in slots if slot in columns}
    for slot in slots:
        for path in () if slot in found or slot not in NAMES else NAMES[slot]:
            values = [value for row in rows if (value := lookup(row, path)) is not MISSING]
            is_text = any(isinstance(value, str) for value in values) or all(value is None for value in values)
            if path not in required.values() and values and is_text:
                found[slot] = path
                break
    return found


def keys_seen(rows: Sequence[Values]) -> str:
    """The columns with what they hold, for an error: `question: text, answers: list`."""
    first: dict[str, Any] = {}
    for row in rows:
        first |= {str(key): value for key, value in row.items() if first.get(str(key)) is None}
    return ", ".join(f"{clean_line(key, 40)}: {described(value)}" for key, value in list(first.items())[:12]) or "none"


def _best(rows: Sequence[Values], kind: str, columns: Mapping[str, str], allow_null: bool) -> Match | None:
    found = (_match(row, kind, columns, allow_null) for row in rows)
    counts = Counter(tuple(match.items()) for match in found if match is not None)
    total = counts.total()
    return (dict(counts.most_common(1)[0][0]), total) if total and 2 * total >= len(rows) else None


def _match(row: Values, kind: str, columns: Mapping[str, str], allow_null: bool) -> dict[str, str] | None:
    """The columns of one row that fill what the format requires."""

    def find(slot: str) -> str | None:
        for path in (columns[slot],) if slot in columns else NAMES[slot]:
            value = lookup(row, path)
            if (allow_null and value is None) or fits(slot, value, kind, columns):
                return path
        return None

    required = {slot: find(slot) for slot in FORMATS[kind].required}
    prompt: dict[str, str | None] = {}
    if FORMATS[kind].prompted:
        if "instruction" not in columns and (path := find("prompt")) is not None:
            # A system text can only go before a user's turn: a text beside one is that turn.
            is_turn = isinstance(lookup(row, path), str) and find("system") is not None
            prompt = {"instruction" if is_turn else "prompt": path}
        elif "prompt" in columns or (path := find("instruction")) is not None:
            prompt = {"instruction": None if "prompt" in columns else path}
        elif kind != "preference" or any(path is None or isinstance(lookup(row, path), str) for path in required.values()):
            return None
    found = {slot: path for slot, path in (prompt | required).items() if path is not None}
    return found if len(found) == len(prompt) + len(required) else None


def _narrowed(found: dict[str, Match], columns: Mapping[str, str]) -> dict[str, Match]:
    """Without what is part of a fuller match, and without matches by usual names beside one by a format's own names."""
    if "judged" in found:
        found.pop("prompt-completion", None)
    if "messages" in found and {"role", "content"} & set(columns):
        found.pop("sharegpt", None)
    own = {kind: match for kind, match in found.items() if all(_is_own(kind, *pair, columns) for pair in match[0].items())}
    return own or found


def _is_own(kind: str, slot: str, path: str, columns: Mapping[str, str]) -> bool:
    return slot in columns or path == slot or (kind, path) == ("sharegpt", "conversations")
