"""A .json file: one array of objects, read element by element so its size does not matter; or one object; or JSON lines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from tuitrain.data.records import MAX_ROW_BYTES, BadRow
from tuitrain.data.sources.base import Gauge, ParseRow, T
from tuitrain.data.sources.jsonl import parse_line, read_jsonl

_BOM = b"\xef\xbb\xbf"
_CHUNK_CHARS = 1 << 18
_BETWEEN = " \t\r\n,"
_parse = json.JSONDecoder().raw_decode

Opener = Callable[[], AbstractContextManager[BinaryIO]]


def read_json(opened: Opener, where: str, *, gauge: Gauge, parse: ParseRow[T], after: int = 0) -> Iterator[T | BadRow]:
    """Records of a .json file. `opened` opens it anew: a first look decides which of the three forms it has."""
    with opened() as stream:
        first_bytes = stream.read(1 << 12).removeprefix(_BOM).lstrip()
    if first_bytes.startswith(b"["):
        with opened() as stream:
            yield from _read_array(stream, where, gauge, parse, after)
    elif (whole := _one_object(opened)) is not None:
        if after < 1:
            yield parse_line(whole, parse, where=f"{where}:1", index=1)
    else:
        with opened() as stream:
            yield from read_jsonl(stream, where, gauge=gauge, parse=parse, after=after)


def _one_object(opened: Opener) -> bytes | None:
    """The whole file when it is one object over several lines; None when its first line is complete, or it is too long."""
    with opened() as stream:
        line = stream.readline(MAX_ROW_BYTES).removeprefix(_BOM)
        if not line.strip() or _is_json(line):
            return None
        whole = line + stream.read(MAX_ROW_BYTES)
    return whole if len(whole) <= MAX_ROW_BYTES and _is_json(whole) else None


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _read_array(stream: BinaryIO, where: str, gauge: Gauge, parse: ParseRow[T], after: int) -> Iterator[T | BadRow]:
    """The elements of the array. After a syntax error nothing more can be found: the rest of the file is left out."""
    # Bytes that are no UTF-8 become surrogates, which only the row that holds them then answers for.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        buffer = text.read(_CHUNK_CHARS)
        at = buffer.index("[") + 1
        index, problem = 0, ""
        gauge.line += buffer.count("\n", 0, at)
        while True:
            begin = _skip_between(buffer, at)
            gauge.line, at = gauge.line + buffer.count("\n", at, begin), begin
            if buffer.startswith("]", at):
                break
            try:
                row, end = _parse(buffer, at)
                complete, problem = end < len(buffer), "the array has no end"  # a number at the very end may go on
            except (ValueError, RecursionError) as error:
                complete, problem = False, getattr(error, "msg", str(error))
            if complete:
                index += 1
                if index > after:
                    yield parse(row, where=f"{where}:{gauge.line}", index=index)
                gauge.line, at = gauge.line + buffer.count("\n", at, end), end
            elif len(buffer) - at <= MAX_ROW_BYTES and (more := text.read(max(_CHUNK_CHARS, len(buffer) - at))):
                buffer, at = buffer[at:] + more, 0
            else:
                problem = f"not JSON ({problem}); the rest of the file is left out"
                yield BadRow(where=f"{where}:{gauge.line}", kind="syntax", problem=problem, index=index + 1)
                return
    finally:
        text.detach()
    if not index:
        yield BadRow(where=f"{where}:1", kind="empty", problem="the array is empty", index=1)


def _skip_between(buffer: str, at: int) -> int:
    while at < len(buffer) and buffer[at] in _BETWEEN:
        at += 1
    return at
