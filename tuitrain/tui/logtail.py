"""The end of train.log: bounded, following, with carriage returns doing what they do on a terminal. Must not import Textual."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from tuitrain.text import clean

TAIL_BYTES = 1 << 18
MAX_LINES = 5000
_MAX_LINE_CHARS = 2000


class LogTail:
    """Follows a log. `lines` is replaced, never changed, so another thread may keep the tuple it got."""

    def __init__(self, path: Path, *, tail_bytes: int = TAIL_BYTES) -> None:
        self.path, self.tail_bytes = path, tail_bytes
        self.lines: tuple[str, ...] = ()
        self.version = 0
        self.skipped_bytes = 0
        """Bytes before the tail that were not read."""
        self._inode = -1
        self._offset = 0
        self._whole: deque[str] = deque(maxlen=MAX_LINES)
        self._partial = ""

    def poll(self) -> bool:
        """Read what is new; whether there was any. A file that shrank or was replaced is read again."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            status = os.fstat(fd)
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._begin(status.st_ino, status.st_size)
            elif status.st_size == self._offset:
                return False
            elif status.st_size - self._offset > self.tail_bytes:
                self._begin(status.st_ino, status.st_size)
            chunk = os.pread(fd, self.tail_bytes, self._offset)
        finally:
            os.close(fd)
        self._offset += len(chunk)
        self._take(chunk.decode("utf-8", errors="replace"))
        return True

    def _begin(self, inode: int, size: int) -> None:
        self._inode = inode
        self._offset = self.skipped_bytes = max(0, size - self.tail_bytes)
        self._partial = ""
        self._whole.clear()

    def _take(self, text: str) -> None:
        """Append text. The unfinished last line is shown as it stands: that is where progress bars live."""
        *whole, self._partial = (self._partial + text).split("\n")
        self._partial = self._partial[-_MAX_LINE_CHARS:]
        self._whole.extend(_shown(each) for each in whole)
        tail = [_shown(self._partial)] if self._partial else []
        self.lines = (*self._whole, *tail)
        self.version += 1


def _shown(line: str) -> str:
    """One line as a terminal would end up showing it."""
    return clean(line[-_MAX_LINE_CHARS:] if len(line) > _MAX_LINE_CHARS else line).replace("\n", " ")
