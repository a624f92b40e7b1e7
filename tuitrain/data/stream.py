"""One configured source as a stream of placed records: what to read in which order, and on which side of the split it falls.

The stream can start at any position, so a preparation that was killed goes on where its last finished piece ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from tuitrain.config.schema import SourceSection
from tuitrain.data.fingerprint import Fingerprints
from tuitrain.data.records import Document, Record
from tuitrain.data.sources import Gauge, Input, Source, StdlibSource, open_source, open_validation
from tuitrain.data.split import is_held_out
from tuitrain.errors import DataError


class Position(NamedTuple):
    """After record `record` of input number `input`."""

    input: int = 0
    record: int = 0


class Placed(NamedTuple):
    """A record, the position after it, and whether it is held out (never for bad rows)."""

    position: Position
    record: Record
    held_out: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lane:
    """One input, and the side it was put on; None lets the hash of each document decide."""

    source: Source
    item: Input
    held_out: bool | None
    content: str
    stamp: tuple[int, int]


class SourceStream:
    """Training inputs first, then the validation inputs where the section names some."""

    def __init__(
        self, section: SourceSection, validation_frac: float, fingerprints: Fingerprints, scanned: Callable[[int], None]
    ) -> None:
        self.section, self.validation_frac = section, validation_frac
        source, validation = open_source(section, fingerprints.revisions), open_validation(section)
        self.name, self._source = source.name, source
        self._gauge, self._current = Gauge(), 0
        self._lanes: list[_Lane] = []
        for each, side in ((source, None if validation is None else False), (validation, True)):
            for item in [] if each is None else each.inputs():
                assert each is not None
                stamp = _stamp(item)
                content = item.name if item.path is None else fingerprints.of(item.path, scanned)
                self._lanes.append(_Lane(source=each, item=item, held_out=side, content=content, stamp=stamp))
        self._bytes_before = list(accumulate((lane.item.size_bytes for lane in self._lanes), initial=0))
        self.bytes_total = self._bytes_before[-1]

    def identity(self) -> dict[str, Any]:
        """What the documents and their split depend on: content and settings, never weights or places."""
        return {
            "corpus": isinstance(self._source, StdlibSource),
            "inputs": [[lane.item.name, lane.content, lane.held_out] for lane in self._lanes],
            "text_key": self.section.text_key,
            "validation_frac": None if self.section.validation_path else self.validation_frac,
        }

    @property
    def bytes_done(self) -> int:
        """Bytes on disk read so far, of `bytes_total`."""
        following = min(self._current + 1, len(self._lanes))
        return min(self._bytes_before[self._current] + self._gauge.bytes_done, self._bytes_before[following])

    def read(self, position: Position) -> Iterator[Placed]:
        """Everything after the position."""
        for number in range(position.input, len(self._lanes)):
            after = position.record if number == position.input else 0
            for record in self._read_lane(number, after):
                yield Placed(Position(number, record.index), record, self._is_held_out(record, self._lanes[number]))
        self._current = len(self._lanes)

    def training_inputs(self) -> list[int]:
        """Numbers of the inputs that hold training documents."""
        return [number for number, lane in enumerate(self._lanes) if lane.held_out is not True]

    def input_name(self, number: int) -> str:
        """Name of an input: the same wherever the files lie."""
        return self._lanes[number].item.name

    def training_records(self, number: int) -> Iterator[Record]:
        """One input without its held-out documents."""
        lane = self._lanes[number]
        return (record for record in self._read_lane(number, 0) if not self._is_held_out(record, lane))

    def _read_lane(self, number: int, after: int) -> Iterator[Record]:
        lane = self._lanes[number]
        self._current, self._gauge.bytes_done = number, 0
        yield from lane.source.read(lane.item, after=after, gauge=self._gauge)
        if _stamp(lane.item) != lane.stamp:
            raise DataError(f"{lane.item.path} was changed while it was read", "start again when nothing writes to it any more")

    def _is_held_out(self, record: Record, lane: _Lane) -> bool:
        if not isinstance(record, Document):
            return False
        return is_held_out(record, self.validation_frac) if lane.held_out is None else lane.held_out


def _stamp(item: Input) -> tuple[int, int]:
    try:
        status = item.path.stat() if item.path is not None else None
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns) if status else (0, 0)
