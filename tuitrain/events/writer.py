"""Append events to one file. One writer per file; one `os.write` per line, so readers never see lines mixed.

A process killed in the middle of a write can leave half a line. The writer cuts such a tail off when it opens the file,
and continues the sequence numbers. A full disk never stops the run: lines wait in memory until there is room again.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tuitrain.events.schema import Event, decode_line, encode_line

_MAX_WAITING_LINES = 10_000
_TAIL_BYTES = 1 << 20


class EventWriter:
    """Writer of `<run>/events/<name>.jsonl`. Not thread-safe: only the thread that trains writes."""

    def __init__(self, path: Path, *, rank: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.rank = path, rank
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._waiting: deque[bytes] = deque(maxlen=_MAX_WAITING_LINES)
        self._seq = self._repair_tail() + 1

    def emit(self, kind: str, *, step: int, **data: Any) -> Event:
        """Append one event. Never raises for a full disk; such lines are kept and written by a later call."""
        event = Event(seq=self._seq, t_ns=time.time_ns(), rank=self.rank, step=step, kind=kind, data=data)
        self._waiting.append(encode_line(event))
        self._seq += 1
        self.flush()
        return event

    def flush(self) -> bool:
        """Write what waits. Returns whether everything is on its way to the disk."""
        while self._waiting:
            size = os.fstat(self._fd).st_size
            line = self._waiting[0]
            try:
                written = os.write(self._fd, line)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                return False
            if written < len(line):  # the disk filled up in the middle of the line: take the piece back
                os.ftruncate(self._fd, size)
                return False
            self._waiting.popleft()
        return True

    def close(self) -> None:
        """Write what waits and close the file."""
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _repair_tail(self) -> int:
        """Cut a torn last line off; return the last sequence number in the file (0 for an empty one)."""
        size = os.fstat(self._fd).st_size
        window = _TAIL_BYTES
        while size:
            start = max(0, size - window)
            tail = os.pread(self._fd, size - start, start)
            end = tail.rfind(b"\n") + 1
            if not end and start:  # one line longer than the window
                window *= 4
                continue
            if start + end < size:
                os.ftruncate(self._fd, start + end)
            for line in reversed(tail[:end].splitlines()):
                if (event := decode_line(line)) is not None:
                    return event.seq
            if not start:
                break
            window *= 4
        return 0
