"""A progress bar on stderr: redrawn in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from tuitrain.text import clean_line

WIDTH = 30
LINE_EVERY_S = 5.0
REDRAW_EVERY_S = 0.1


class Bar:
    """Use as a context manager; `update` as often as there is news."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._live = stream, stream.isatty()
        self._last_s, self._drawn = 0.0, False

    def update(self, text: str, done_frac: float | None) -> None:
        """Show how far it is; `None` where that cannot be told."""
        now_s = time.monotonic()
        if now_s - self._last_s < (REDRAW_EVERY_S if self._live else LINE_EVERY_S):
            return
        self._last_s = now_s
        share = "" if done_frac is None else f"{done_frac:4.0%} "
        if not self._live:
            print(f"{share}{clean_line(text)}", file=self._stream, flush=True)
            return
        filled = round(WIDTH * (done_frac or 0.0))
        bar = "#" * filled + "-" * (WIDTH - filled)
        self._stream.write(f"\r\x1b[K[{bar}] {share}{clean_line(text, 60)}")
        self._stream.flush()
        self._drawn = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
