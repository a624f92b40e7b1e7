"""Plain text: one document per file, or consecutive parts of a long file.

A part ends at an empty line where one is near, else at a line's end, else at a space; the parts joined are the file. So a
file of any size, even one line of 100 MB, needs memory for one part only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from tuitrain.data.records import BadRow, Document, Record, describe_decode_error
from tuitrain.data.sources.base import Gauge

PART_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


def read_text(stream: BinaryIO, where: str, *, gauge: Gauge, part_bytes: int = PART_BYTES, after: int = 0) -> Iterator[Record]:
    """Parts of at most `part_bytes` bytes."""
    index, rest = 0, b""
    while True:
        rest += stream.read(max(0, part_bytes + 1 - len(rest)))
        if not index and rest.startswith(_BOM):
            rest = rest[len(_BOM) :] + stream.read(len(_BOM))
        if not rest:
            break
        end = len(rest) if len(rest) <= part_bytes else part_end(rest, part_bytes)
        part, rest = rest[:end], rest[end:]
        index += 1
        if index > after:
            yield _part_record(part, where, gauge.line, index)
        gauge.line += part.count(b"\n")
    if not index:
        yield BadRow(where=f"{where}:1", kind="empty", problem="the file is empty", index=1)


def part_end(data: bytes, limit: int) -> int:
    """Where to cut `data`, at most `limit` and not far below it; `data` is longer than `limit`."""
    for mark, kept in ((b"\n\n", 2), (b"\n", 1), (b" ", 0)):
        if (at := data.rfind(mark, limit // 2, limit)) > 0:
            return at + kept
    end = limit
    while limit - end < 3 and data[end] & 0xC0 == 0x80:  # inside a UTF-8 sequence
        end -= 1
    return end


def _part_record(part: bytes, where: str, line: int, index: int) -> Record:
    try:
        return Document(text=part.decode("utf-8"), where=f"{where}:{line}", index=index)
    except UnicodeDecodeError as error:
        bad_line = line + part.count(b"\n", 0, error.start)
        return BadRow(where=f"{where}:{bad_line}", kind="encoding", problem=describe_decode_error(error), index=index)
