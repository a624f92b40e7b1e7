"""Rows of one source of examples as they stand, from files or a Hugging Face dataset. What they mean is decided later."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from tuitrain.config.schema import SourceSection
from tuitrain.data.records import BadRow, no_object
from tuitrain.data.sources import Gauge, HubSource, Input, check_place
from tuitrain.data.sources.compressed import inner_name, open_stream
from tuitrain.data.sources.delimited import read_delimited
from tuitrain.data.sources.files import Files
from tuitrain.data.sources.row_files import ROW_SUFFIXES, read_rows
from tuitrain.errors import DataError

DELIMITED_SUFFIXES = (".csv", ".tsv")
SUFFIXES = (*ROW_SUFFIXES, *DELIMITED_SUFFIXES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row: its columns by name, `file:line` (or `file:row`), and its place in its file, counted from 1."""

    values: dict[str, Any]
    where: str
    index: int = 0


class RowSource(Protocol):
    """Where rows come from."""

    @property
    def name(self) -> str:
        """Shown to people."""

    def inputs(self) -> list[Input]:
        """All inputs, in reading order."""

    def read(self, item: Input, *, after: int, gauge: Gauge) -> Iterator[Row | BadRow]:
        """Rows of one input, in order. Never raises for content: that is a BadRow."""


class RowFiles(Files[Row]):
    """A file or a folder; of a folder only the files that hold rows."""

    def inputs(self) -> list[Input]:
        """The files, sorted by their path below the folder."""
        items = super().inputs()
        kept = [item for item in items if item.path is not None and inner_name(item.path).endswith(SUFFIXES)]
        if not kept:
            seen = ", ".join(item.name for item in items[:3])
            raise DataError(
                f"no file of {self.path} holds rows (seen: {seen})",
                f"examples are read from {' '.join(SUFFIXES)}, each also .gz or .zst",
            )
        return kept

    def _records(self, item: Input, where: str, after: int, gauge: Gauge) -> Iterator[Row | BadRow]:
        assert item.path is not None
        name = inner_name(item.path)
        if name.endswith(DELIMITED_SUFFIXES):
            with open_stream(item.path, gauge) as stream:
                tabs = name.endswith(".tsv")
                yield from read_delimited(stream, where, tabs=tabs, gauge=gauge, parse=_row, after=after)
        else:
            yield from read_rows(item, where, after=after, gauge=gauge, parse=_row)


def open_rows(section: SourceSection, revisions: MutableMapping[str, str] | None = None) -> RowSource:
    """The source of rows a configuration section describes. `revisions` remembers those of Hugging Face datasets."""
    check_place(section)
    if section.path is not None:
        return RowFiles(section.path, glob=section.glob)
    if section.dataset is not None:
        known = {} if revisions is None else revisions
        return HubSource(section.dataset, subset=section.subset, split=section.split, parse=_row, revisions=known)
    raise DataError(
        f"the corpus {section.corpus} is text, not rows that hold examples",
        'set corpus = "python-docstrings", or train on text: run.stage = "pretrain" or "midtrain"',
    )


def stream_rows(source: RowSource, gauge: Gauge | None = None) -> Iterator[Row | BadRow]:
    """All rows of all inputs."""
    gauge = gauge or Gauge()
    for item in source.inputs():
        yield from source.read(item, after=0, gauge=gauge)


def _row(row: object, *, where: str, index: int) -> Row | BadRow:
    if not isinstance(row, dict):
        return no_object(row, where=where, index=index)
    return Row(values=row, where=where, index=index)
