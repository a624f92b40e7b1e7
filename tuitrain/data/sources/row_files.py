"""Files that hold rows: which suffix is read how. What becomes of a row is the caller's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from tuitrain.data.records import BadRow
from tuitrain.data.sources.base import Gauge, Input, ParseRow, T
from tuitrain.data.sources.compressed import BUFFER_BYTES, inner_name, is_compressed, open_stream
from tuitrain.data.sources.json_array import read_json
from tuitrain.data.sources.jsonl import read_jsonl
from tuitrain.data.sources.parquet import read_parquet

ROW_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")


def read_rows(
    item: Input, where: str, *, after: int, gauge: Gauge, parse: ParseRow[T], column: str | None = None
) -> Iterator[T | BadRow]:
    """Records of a file of ROW_SUFFIXES. `column`: all that `parse` looks at; nothing else is read of Parquet."""
    assert item.path is not None
    path, name = item.path, inner_name(item.path)
    if name.endswith(".json"):
        yield from read_json(lambda: open_stream(path, gauge), where, gauge=gauge, parse=parse, after=after)
    elif name.endswith(".parquet"):
        with _open_seekable(path, gauge) as file:
            yield from read_parquet(
                file, where, column=column, parse=parse, after=after, gauge=gauge, size_bytes=item.size_bytes
            )
    else:
        with open_stream(path, gauge) as stream:
            yield from read_jsonl(stream, where, gauge=gauge, parse=parse, after=after)


@contextmanager
def _open_seekable(path: Path, gauge: Gauge) -> Iterator[BinaryIO]:
    """Parquet is read from its end: a compressed file is unpacked into a temporary one first."""
    if not is_compressed(path):
        gauge.bytes_done, gauge.line = 0, 1
        with path.open("rb") as plain:
            yield plain
        return
    with open_stream(path, gauge) as stream, tempfile.TemporaryFile() as unpacked:
        copyfileobj(stream, unpacked, BUFFER_BYTES)
        unpacked.seek(0)
        yield unpacked
