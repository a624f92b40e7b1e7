"""Folding event logs for viewers: a run being watched slice by slice, a finished one for the list from a few slices only.

Used by threads; must not import Textual.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tuitrain.events import Event, RunReader, RunState, decode_line, fold

SLICE_BYTES = 1 << 16
_WHOLE_BYTES = 8 * SLICE_BYTES
"""Logs up to this size are read whole for the list."""
_SKIM_SLICES = 24
_SKIM_BYTES = 1 << 12


class RunFeed:
    """A run's state, kept up to date by one thread and read by another. Hold `lock` while reading `state`."""

    def __init__(self, events_dir: Path) -> None:
        self.events_dir = events_dir
        self.lock = threading.Lock()
        self.state = RunState()
        self.generation = 0
        """Counts how often the log was replaced and folded anew."""
        self._reader = RunReader(events_dir)

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever the state does."""
        return self.generation, self.state.version

    def poll(self) -> bool:
        """Fold one slice of what is new; whether there was any. Parsing needs no lock, folding is a millisecond under it."""
        events = self._reader.read(SLICE_BYTES)
        if self._reader.generation:
            # A file became shorter: what was folded is another run's history. The reader is asked again from the beginning.
            self._reader = RunReader(self.events_dir)
            events = self._reader.read(SLICE_BYTES)
            with self.lock:
                self.state = fold(events)
                self.generation += 1
            return True
        if not events:
            return False
        with self.lock:
            fold(events, self.state)
        return True

    def catch_up(self) -> RunState:
        """Fold everything there is; for tests and for small logs."""
        while self.poll():
            pass
        return self.state


def skim(events_dir: Path) -> RunState:
    """The state of a run as the list needs it, from a bounded number of bytes: both ends of each log, and samples in between.

    The ends give length, plan, newest step and ending; the samples give the shape of the loss curve. Counts of alerts and
    checkpoints are those seen.
    """
    events: list[Event] = []
    for path in sorted(events_dir.glob("*.jsonl")):
        events += _skim_file(path)
    return fold(sorted(events, key=lambda event: (event.t_ns, event.rank, event.seq)))


def _skim_file(path: Path) -> list[Event]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        size = os.fstat(fd).st_size
        if size <= _WHOLE_BYTES:
            return _events(os.pread(fd, size, 0), torn_start=False)
        events = _events(os.pread(fd, SLICE_BYTES, 0), torn_start=False)
        for index in range(1, _SKIM_SLICES + 1):
            offset = SLICE_BYTES + (size - 2 * SLICE_BYTES) * index // (_SKIM_SLICES + 1)
            events += _events(os.pread(fd, _SKIM_BYTES, offset), torn_start=True)
        return events + _events(os.pread(fd, SLICE_BYTES, size - SLICE_BYTES), torn_start=True)
    finally:
        os.close(fd)


def _events(chunk: bytes, *, torn_start: bool) -> list[Event]:
    """Events of the whole lines in a piece of a log."""
    start = chunk.find(b"\n") + 1 if torn_start else 0
    lines = chunk[start : chunk.rfind(b"\n") + 1].splitlines()
    return [event for line in lines if (event := decode_line(line)) is not None]
