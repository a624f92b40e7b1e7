"""JSON lines: one object per line. A line too long for memory is passed over, not read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from tuitrain.data.records import MAX_ROW_BYTES, BadRow, describe_decode_error
from tuitrain.data.sources.base import Gauge, ParseRow, T

_BOM = b"\xef\xbb\xbf"
_SKIP_BYTES = 1 << 20


def read_jsonl(stream: BinaryIO, where: str, *, gauge: Gauge, parse: ParseRow[T], after: int = 0) -> Iterator[T | BadRow]:
    """Records of the lines after line `after`; empty lines are no records."""
    number, records = 0, 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        gauge.line = number + 1
        place = f"{where}:{number}"
        if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(_SKIP_BYTES)) and not rest.endswith(b"\n"):
                pass
            records += 1
            if number > after:
                problem = f"the line is longer than {MAX_ROW_BYTES >> 20} MiB"
                yield BadRow(where=place, kind="too-long", problem=problem, index=number)
        elif not line.isspace():
            records += 1
            if number > after:
                yield parse_line(line.removeprefix(_BOM) if number == 1 else line, parse, where=place, index=number)
    if not records:
        yield BadRow(where=f"{where}:1", kind="empty", problem="the file holds no row", index=number + 1)


def parse_line(line: bytes, parse: ParseRow[T], *, where: str, index: int) -> T | BadRow:
    """One line as a record."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRow(where=where, kind="encoding", problem=describe_decode_error(error), index=index)
    except (ValueError, RecursionError) as error:
        return BadRow(where=where, kind="syntax", problem=f"not JSON ({error})", index=index)
    return parse(row, where=where, index=index)
