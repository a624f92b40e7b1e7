"""The examples of one source, one by one: its rows in the format found, what could not be read, and a hash of the whole."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any

from tuitrain.config.schema import SourceSection
from tuitrain.data.chat.convert import convert
from tuitrain.data.chat.docstrings import NAME as DOCSTRINGS
from tuitrain.data.chat.docstrings import docstring_examples
from tuitrain.data.chat.examples import Item, Message
from tuitrain.data.chat.formats import LOOKED_AT, Detection, detect
from tuitrain.data.chat.rows import Row, open_rows, stream_rows
from tuitrain.data.records import MAX_ROW_BYTES, BadRow
from tuitrain.data.report import BadRowReport
from tuitrain.data.sources import Gauge, check_place
from tuitrain.errors import DataError

_MOST_BAD = 1000
"""Bad rows after which the first good ones are no longer waited for."""


@dataclass(kw_only=True, slots=True)
class ReadSummary:
    """What came out of a source; complete when its items have been read."""

    name: str
    detection: Detection | None
    """None for the embedded examples, which have no rows."""
    items: int = 0
    bad: BadRowReport = field(default_factory=BadRowReport)
    _hash: Any = field(default_factory=hashlib.sha256)

    @property
    def rows(self) -> int:
        """Rows read: each became an item, or is a bad one."""
        return self.items + self.bad.total

    @property
    def format(self) -> str:
        """One line for people: which format, found or given, and which columns it is read from."""
        if self.detection is not None:
            return self.detection.show()
        return f"questions about the standard library of Python {platform.python_version()}, answered by its docstrings"

    @property
    def content_hash(self) -> str:
        """SHA-256 of the items read so far, in order: of what is learnt from them, not of where they lie."""
        return str(self._hash.hexdigest())

    def add(self, item: Item) -> None:
        """One more item."""
        content = [getattr(item, each.name) for each in fields(item) if each.name != "where"]
        self._hash.update(json.dumps([type(item).__name__, *content], default=Message.to_dict).encode() + b"\n")
        self.items += 1

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.name,
            "format": self.format,
            "detection": None if self.detection is None else self.detection.to_dict(),
            "rows": self.rows,
            "items": self.items,
            "bad": self.bad.to_json(),
            "content_hash": self.content_hash,
        }


class ReadResult(Iterator[Item]):
    """The items of a source, read once; `summary` grows with them."""

    def __init__(
        self, records: Iterator[Item | BadRow], summary: ReadSummary, limit: int | None, on_bad: Callable[[BadRow], None]
    ) -> None:
        self.summary = summary
        self._records, self._limit, self._on_bad = records, limit, on_bad

    def __next__(self) -> Item:
        while self._limit is None or self.summary.items < self._limit:
            record = next(self._records)
            if not isinstance(record, BadRow):
                self.summary.add(record)
                return record
            self.summary.bad.add(record)
            self._on_bad(record)
        raise StopIteration


def read_items(
    section: SourceSection,
    *,
    system_prompt: str | None,
    on_bad: Callable[[BadRow], None],
    revisions: MutableMapping[str, str] | None = None,
    gauge: Gauge | None = None,
) -> ReadResult:
    """The items of a source, up to its limit. DataError at once where its format cannot be told.

    `on_bad` hears of every bad row and may raise; `revisions` remembers those of Hugging Face datasets, `gauge` shows how far
    the file has been read.
    """
    check_place(section)
    if section.corpus == DOCSTRINGS:
        return ReadResult(
            docstring_examples(system_prompt), ReadSummary(name=DOCSTRINGS, detection=None), section.limit, on_bad
        )
    source, gauge = open_rows(section, revisions), gauge or Gauge()
    rows = stream_rows(source, gauge)
    first = _first(rows, gauge)
    good = [row.values for row in first if isinstance(row, Row)]
    if not good:
        reason = next((f"{row.where}: {row.problem}" for row in first if isinstance(row, BadRow)), "it is empty")
        raise DataError(f"no row of {source.name} can be read: {reason}", "mend the file, or check the path of the source")
    detection = detect(good, name=source.name, asked=section.format, columns=section.columns)
    items = (row if isinstance(row, BadRow) else convert(row, detection, system_prompt) for row in chain(first, rows))
    return ReadResult(items, ReadSummary(name=source.name, detection=detection), section.limit, on_bad)


def _first(rows: Iterator[Row | BadRow], gauge: Gauge) -> list[Row | BadRow]:
    """Rows to find the format from: as many as it takes, unless they fill the memory."""
    first: list[Row | BadRow] = []
    good = 0
    for row in rows:
        first.append(row)
        good += isinstance(row, Row)
        if good == LOOKED_AT or (good and gauge.bytes_done > MAX_ROW_BYTES) or len(first) - good > _MOST_BAD:
            break
    return first
