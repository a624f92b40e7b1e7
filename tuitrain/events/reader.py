"""Follow event files that another process is writing.

A reader keeps a byte offset and consumes only through the last newline, so half-written lines are simply not there yet.
A file that became shorter, or is another file now, was replaced: reading starts over and `generation` counts up.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from pathlib import Path

from tuitrain.events.schema import Event, decode_line

SLICE_BYTES = 1 << 16


class EventReader:
    """Reader of one event file. `read()` returns what is new since the last call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.generation = 0
        self.skipped_lines = 0
        self._identity: tuple[int, int] | None = None

    def read(self, max_bytes: int | None = None) -> list[Event]:
        """Events whose lines are complete, oldest first; at most about `max_bytes` of them. A missing file has none."""
        try:
            with self.path.open("rb") as file:
                facts = os.fstat(file.fileno())
                identity = (facts.st_dev, facts.st_ino)
                if facts.st_size < self.offset or self._identity not in (None, identity):
                    self.offset, self.generation = 0, self.generation + 1
                self._identity = identity
                file.seek(self.offset)
                chunk = file.read() if max_bytes is None else self._read_slice(file.fileno(), max_bytes)
        except FileNotFoundError:
            return []
        end = chunk.rfind(b"\n") + 1
        self.offset += end
        events = []
        for line in chunk[:end].split(b"\n"):
            if not line:
                continue
            event = decode_line(line)
            if event is None:
                self.skipped_lines += 1
            else:
                events.append(event)
        return events

    def _read_slice(self, fd: int, max_bytes: int) -> bytes:
        """About `max_bytes` from the offset, more when a single line is longer than that."""
        chunk = os.pread(fd, max_bytes, self.offset)
        while chunk and b"\n" not in chunk:
            more = os.pread(fd, max_bytes, self.offset + len(chunk))
            if not more:
                break
            chunk += more
        return chunk


class RunReader:
    """Reader of every event file of a run, merged by time. New files (more ranks, a supervisor) are picked up as they
    appear."""

    def __init__(self, events_dir: Path) -> None:
        self.events_dir = events_dir
        self._readers: dict[Path, EventReader] = {}

    def read(self, max_bytes: int | None = None) -> list[Event]:
        """New events of all files, ordered by time, ties by rank and sequence number."""
        for path in sorted(self.events_dir.glob("*.jsonl")):
            self._readers.setdefault(path, EventReader(path))
        batches = [reader.read(max_bytes) for reader in self._readers.values()]
        return list(heapq.merge(*batches, key=lambda event: (event.t_ns, event.rank, event.seq)))

    @property
    def generation(self) -> int:
        """Grows when any file was replaced; a viewer then folds from the beginning."""
        return sum(reader.generation for reader in self._readers.values())


def read_events(events_dir: Path) -> Iterator[Event]:
    """All events of a run, merged by time."""
    yield from RunReader(events_dir).read()
