"""What every source is: a list of inputs in a fixed order, each read as a stream of records that can start in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tuitrain.data.records import Record

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


class Source(Protocol):
    """Where documents come from."""

    @property
    def name(self) -> str:
        """Shown to people."""

    def inputs(self) -> list[Input]:
        """All inputs, in reading order: the same on every machine that holds the same files."""

    def read(self, item: Input, *, after: int, gauge: Gauge) -> Iterator[Record]:
        """Records of one input whose `index` is above `after`, in order. Never raises for content: that is a BadRow."""
