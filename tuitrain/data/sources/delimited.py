"""Rows of text between commas or tabs, the first naming the columns. All values are strings.

A quoted field may hold line ends; a row is named by the line it begins on. A quote that is never closed is an error, not a
field that holds the rest of the file.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from tuitrain.data.records import MAX_ROW_BYTES, BadRow
from tuitrain.data.sources.base import Gauge, ParseRow, T


def read_delimited(
    stream: BinaryIO, where: str, *, tabs: bool, gauge: Gauge, parse: ParseRow[T], after: int = 0
) -> Iterator[T | BadRow]:
    """Records of the rows after row `after`; the header is none. Semicolons separate where the header has no comma."""
    csv.field_size_limit(MAX_ROW_BYTES)  # of the whole process: the default, 128 KiB, is less than a long answer
    # Bytes that are no UTF-8 become surrogates, which only the row that holds them then answers for.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        lines = _Lines(text)
        header = lines.peek()
        semicolons = ";" in header and "," not in header
        reader = csv.reader(lines, delimiter="\t" if tabs else ";" if semicolons else ",", strict=True)
        yield from _records(reader, lines, where, gauge, parse, after)
    finally:
        text.detach()


def _records(
    reader: Iterator[list[str]], lines: _Lines, where: str, gauge: Gauge, parse: ParseRow[T], after: int
) -> Iterator[T | BadRow]:
    names: list[str] = []
    index = 0
    while not lines.too_long:
        lines.begin_row()
        gauge.line = lines.number + 1
        place = f"{where}:{gauge.line}"
        try:
            values = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            index += 1
            kind, problem = ("too-long", lines.too_long) if lines.too_long else ("syntax", f"not CSV ({error})")
            if index > after:
                yield BadRow(where=place, kind=kind, problem=problem, index=index)
            if not names:  # the next row is no header
                return
            continue
        if not values:
            continue
        if not names:
            names = values
            if (twice := Counter(names).most_common(1)[0])[1] > 1:
                problem = f"the header names {twice[0]!r} twice; the file is left out"
                yield BadRow(where=place, kind="syntax", problem=problem, index=1)
                return
            continue
        index += 1
        if index <= after:
            continue
        if len(values) != len(names):
            problem = f"{len(values)} fields where the header names {len(names)}"
            yield BadRow(where=place, kind="syntax", problem=problem, index=index)
        else:
            yield parse(dict(zip(names, values, strict=True)), where=place, index=index)
    if not index:
        yield BadRow(where=f"{where}:1", kind="empty", problem="the file holds no row", index=1)


class _Lines(Iterator[str]):
    """The lines of a file, counted. A row that would not fit in memory ends them."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._waiting, self._row_chars = text, "", 0
        self.number = 0
        """Lines given so far."""
        self.too_long = ""
        """Why the rest of the file is not read, once it is so."""

    def begin_row(self) -> None:
        """What follows is another row."""
        self._row_chars = 0

    def peek(self) -> str:
        """The line that is given next."""
        self._waiting = self._waiting or self._text.readline(MAX_ROW_BYTES + 1)
        return self._waiting

    def __next__(self) -> str:
        line, self._waiting = self.peek(), ""
        if not line:
            raise StopIteration
        self._row_chars += len(line)
        if self._row_chars > MAX_ROW_BYTES:
            self.too_long = f"the row is longer than {MAX_ROW_BYTES >> 20} MiB; the rest of the file is left out"
            raise csv.Error(self.too_long)
        self.number += 1
        return line
