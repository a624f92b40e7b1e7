"""Parquet, read in batches small enough to keep memory bounded. Row groups already read are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from tuitrain.data.extras import load_extra
from tuitrain.data.records import BadRow, describe_decode_error
from tuitrain.data.sources.base import Gauge, ParseRow, T

_BATCH_BYTES = 4 << 20
_PAGE_BUFFER_BYTES = 1 << 20


def read_parquet(
    file: BinaryIO, where: str, *, column: str | None, parse: ParseRow[T], after: int, gauge: Gauge, size_bytes: int
) -> Iterator[T | BadRow]:
    """Records of the rows after row `after`: of one column, or of all. A broken row group is one bad row, the next is read."""
    pyarrow, parquet = load_extra("pyarrow", "reading .parquet files"), load_extra("pyarrow.parquet", "reading .parquet files")
    broken = (pyarrow.ArrowException, OSError)
    try:
        table = parquet.ParquetFile(file, buffer_size=_PAGE_BUFFER_BYTES, pre_buffer=False)
        columns = table.schema_arrow.names
    except broken as error:
        yield BadRow(where=f"{where}:1", kind="unreadable", problem=f"not a Parquet file ({_first_line(error)})", index=1)
        return
    rows = max(1, table.metadata.num_rows)
    if column is not None and column not in columns:
        problem = f"no column {column!r} (columns: {', '.join(columns[:8])})"
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
                for row in _rows(table, group, column):
                    index += 1
                    gauge.line = index + 1
                    if index > after:
                        place = f"{where}:{index}"
                        if isinstance(row, UnicodeDecodeError):
                            yield BadRow(where=place, kind="encoding", problem=describe_decode_error(row), index=index)
                        else:
                            yield parse(row, where=place, index=index)
                    gauge.bytes_done = size_bytes * index // rows
            except broken as error:
                problem = f"row group {group} is broken ({_first_line(error)}); its remaining rows are left out"
                yield BadRow(where=f"{where}:{index + 1}", kind="unreadable", problem=problem, index=first + count)
        first += count


def _rows(table: Any, group: int, column: str | None) -> Iterator[object]:
    """Rows as dictionaries; a row that holds bytes which are no UTF-8 is the error that says so."""
    metadata = table.metadata.row_group(group)
    group_bytes = max(1, metadata.total_byte_size)
    batch_rows = max(1, min(4096, _BATCH_BYTES * max(1, metadata.num_rows) // group_bytes))
    columns = None if column is None else [column]
    for batch in table.iter_batches(batch_size=batch_rows, row_groups=[group], columns=columns, use_threads=False):
        try:
            yield from batch.to_pylist()
        except UnicodeDecodeError:
            yield from (_row(batch, number) for number in range(batch.num_rows))


def _row(batch: Any, number: int) -> object:
    try:
        return batch.slice(number, 1).to_pylist()[0]
    except UnicodeDecodeError as error:
        return error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
