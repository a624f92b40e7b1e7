"""What every source is: a list of inputs in a fixed order, each read as a stream of records that can start in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from tuitrain.data.records import BadRow, Record

END = 2**62
"""Index of a bad row that ends its input: nothing can be read after it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One file of a source, or a whole remote dataset. `name` is part of the cache key, `path` is not."""

    name: str
    path: Path | None
    size_bytes: int = 0
    """Size on disk, compressed as it is; 0 when it cannot be told."""


@dataclass(slots=True)
class Gauge:
    """How far the reading of the current input has come. Readers move it, progress and error messages look at it."""

    bytes_done: int = 0
    """Bytes on disk."""
    line: int = 1
    """The line (or row) that is read next."""


class Indexed(Protocol):
    """What a row becomes: a document, or the row itself. `index` is its place in its input, counted from 1."""

    @property
    def index(self) -> int: ...


T = TypeVar("T", bound=Indexed)
T_co = TypeVar("T_co", bound=Indexed, covariant=True)


class ParseRow(Protocol[T_co]):
    """Makes a record of a row, or says why it is none."""

    def __call__(self, row: object, *, where: str, index: int) -> T_co | BadRow: ...


class Source(Protocol):
    """Where documents come from."""

    @property
    def name(self) -> str:
        """Shown to people."""

    def inputs(self) -> list[Input]:
        """All inputs, in reading order: the same on every machine that holds the same files."""

    def read(self, item: Input, *, after: int, gauge: Gauge) -> Iterator[Record]:
        """Records of one input whose `index` is above `after`, in order. Never raises for content: that is a BadRow."""
