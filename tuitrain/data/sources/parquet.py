"""Parquet: one column, read in batches small enough to keep memory bounded. Row groups already read are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from tuitrain.data.extras import load_extra
from tuitrain.data.records import BadRow, Record, text_record
from tuitrain.data.sources.base import Gauge

_BATCH_BYTES = 4 << 20
_PAGE_BUFFER_BYTES = 1 << 20


def read_parquet(file: BinaryIO, where: str, *, text_key: str, after: int, gauge: Gauge, size_bytes: int) -> Iterator[Record]:
    """Records of the rows after row `after`. A broken row group is one bad row, and the next group is read."""
    pyarrow, parquet = load_extra("pyarrow", "reading .parquet files"), load_extra("pyarrow.parquet", "reading .parquet files")
    broken = (pyarrow.ArrowException, OSError)
    try:
        table = parquet.ParquetFile(file, buffer_size=_PAGE_BUFFER_BYTES, pre_buffer=False)
        columns = table.schema_arrow.names
    except broken as error:
        yield BadRow(where=f"{where}:1", kind="unreadable", problem=f"not a Parquet file ({_first_line(error)})", index=1)
        return
    rows = max(1, table.metadata.num_rows)
    if text_key not in columns:
        problem = f"no column {text_key!r} (columns: {', '.join(columns[:8])})"
        yield BadRow(where=f"{where}:1", kind="key", problem=problem, index=rows)
        return
    if not table.metadata.num_rows:
        yield BadRow(where=f"{where}:1", kind="empty", problem="the file holds no row", index=1)
    first = 0
    for group in range(table.num_row_groups):
        count = table.metadata.row_group(group).num_rows
        if first + count > after:
            index = first
            try:
                for value in _values(pyarrow, table, group, text_key):
                    index += 1
                    gauge.line = index + 1
                    if index > after:
                        yield text_record(value, where=f"{where}:{index}", index=index)
                    gauge.bytes_done = size_bytes * index // rows
            except broken as error:
                problem = f"row group {group} is broken ({_first_line(error)}); its remaining rows are left out"
                yield BadRow(where=f"{where}:{index + 1}", kind="unreadable", problem=problem, index=first + count)
        first += count


def _values(pyarrow: Any, table: Any, group: int, text_key: str) -> Iterator[object]:
    metadata = table.metadata.row_group(group)
    group_bytes = max(1, metadata.total_byte_size)
    batch_rows = max(1, min(4096, _BATCH_BYTES * max(1, metadata.num_rows) // group_bytes))
    for batch in table.iter_batches(batch_size=batch_rows, row_groups=[group], columns=[text_key], use_threads=False):
        column = batch.column(0)
        try:
            yield from column.to_pylist()
        except UnicodeDecodeError:
            yield from column.cast(pyarrow.large_binary()).to_pylist()


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
