"""Which format the rows of a source have, found from the first of them and shown: nobody has to trust a guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuitrain.data.chat.columns import FORMATS
from tuitrain.data.chat.matching import keys_seen, matches, optional_columns
from tuitrain.errors import DataError
from tuitrain.text import clean_line

LOOKED_AT = 50
"""Rows the format is found from."""

_HINT = (
    "say how data.sources.N is written: format (" + ", ".join(FORMATS) + ") and, where the names differ, columns; for example"
    ' format = "alpaca", columns = {instruction = "question", output = "answer.text"}'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """The format of a source and where its rows keep what it asks for."""

    format: str
    columns: dict[str, str]
    """Slot of the format (see columns.FORMATS) to column, or path of keys, of the row."""
    matched: int
    """Rows that have this form, of those looked at."""
    looked_at: int
    asked: bool = False
    """Whether the configuration names the format; else it was found."""
    seen: tuple[str, ...] = ()
    """All columns of the rows looked at."""

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns that are not read."""
        read = {part for path in self.columns.values() for part in (path, path.partition(".")[0])}
        return tuple(key for key in self.seen if key not in read)

    def show(self) -> str:
        """One line: `alpaca (50 of 50 rows): instruction = question, output = answer; not read: id`."""
        pairs = [slot if slot == path else f"{slot} = {path}" for slot, path in self.columns.items()]
        source = ", as configured" if self.asked else ""
        line = f"{self.format}{source} ({self.matched} of {self.looked_at} rows): {', '.join(pairs)}"
        return line + (f"; not read: {', '.join(self.unused)}" if self.unused else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def detect(
    rows: Sequence[Mapping[str, Any]], *, name: str, asked: str = "auto", columns: Mapping[str, str] | None = None
) -> Detection:
    """The one format that most rows have; DataError where there is none, or more than one. `name` is the source's."""
    columns = columns or {}
    found = matches(rows, _candidates(name, asked, columns), columns)
    if len(found) > 1:
        raise DataError(
            f"{name}: the rows can be read as {' and as '.join(found)} (keys: {keys_seen(rows)})",
            "say which: data.sources.N.format = " + " or ".join(f'"{each}"' for each in found),
        )
    if not found:
        what = "their format is not known" if asked == "auto" else f"they are not in the format {asked}"
        raise DataError(f"{name}: the rows hold {keys_seen(rows)}; {what}", _HINT)
    ((kind, (required, matched)),) = found.items()
    used = required | optional_columns(rows, kind, required, columns)
    seen = tuple(dict.fromkeys(clean_line(str(key)) for row in rows for key in row))
    return Detection(format=kind, columns=used, matched=matched, looked_at=len(rows), asked=asked != "auto", seen=seen)


def _candidates(name: str, asked: str, columns: Mapping[str, str]) -> list[str]:
    """The formats that are asked for, of those that know every slot `columns` names."""
    if {"prompt", "instruction"} <= set(columns):
        raise DataError(
            f"{name}: columns names both prompt and instruction",
            "a prompt holds turns, or a text to continue; an instruction is a text to answer: keep one",
        )
    formats = list(FORMATS) if asked == "auto" else [asked]
    candidates = [each for each in formats if set(columns) <= set(FORMATS[each].slots)]
    if not candidates:
        names = ", ".join(columns)
        what = (
            f"no format has the columns {names} together" if asked == "auto" else f"the format {asked} has not all of {names}"
        )
        known = dict.fromkeys(slot for each in formats for slot in FORMATS[each].slots)
        raise DataError(f"{name}: {what}", f"data.sources.N.columns may name: {', '.join(known)}")
    return candidates
