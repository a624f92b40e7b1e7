"""Curves as characters. A cell holds 4x2 dots (braille), 2x2 quadrants (block) or 2x1 points (ascii); a cell has one owner.

Each pixel column keeps the least and the greatest of its samples, so no spike vanishes however many samples a column holds.
A NaN breaks the curve. All numpy: the cost of 100 000 samples is one pass of `reduceat`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuitrain.tui.render.glyphs import Marker
from tuitrain.tui.render.spans import Span

PIXELS: Final[dict[Marker, tuple[int, int]]] = {"braille": (4, 2), "block": (2, 2), "ascii": (2, 1)}
"""Rows and columns of pixels in one cell."""
_BITS: Final[dict[Marker, NDArray[np.uint8]]] = {
    "braille": np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8),
    "block": np.array([[1, 2], [4, 8]], np.uint8),
    "ascii": np.array([[1], [2]], np.uint8),
}
_CODES: Final[dict[Marker, NDArray[np.uint32]]] = {
    "braille": np.arange(0x2800, 0x2900, dtype=np.uint32),
    "block": np.array([ord(char) for char in " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"], np.uint32),
    "ascii": np.array([ord(char) for char in " '.:"], np.uint32),
}
NOBODY: Final = -1


@dataclass(frozen=True, slots=True)
class Trace:
    """A curve decimated to pixel columns: the range of its samples in each column that has any."""

    columns: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    joined: NDArray[np.bool_]
    """Whether the curve goes on from the column before in this list: false at the first, and after a NaN."""

    def __len__(self) -> int:
        return len(self.columns)

    def scaled(self, factor: float) -> Trace:
        """The curve in another unit."""
        return self if factor == 1 else Trace(self.columns, self.low * factor, self.high * factor, self.joined)


_NOTHING: Final = Trace(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.bool_))


def trace(x: NDArray[np.float64], y: NDArray[np.float64], x0: float, x1: float, columns: int) -> Trace:
    """Decimate a curve whose `x` never falls to `columns` pixel columns over [x0, x1]."""
    if columns < 1 or not len(x) or not x1 > x0:
        return _NOTHING
    edges = np.searchsorted(x, np.linspace(x0, x1, columns + 1))
    edges[-1] = np.searchsorted(x, x1, side="right")
    filled = np.flatnonzero(edges[1:] > edges[:-1])
    first, last = int(edges[0]), int(edges[-1])
    if not len(filled):
        return _crossing(x, y, x0, x1, columns, first)
    part = y[first:last]
    starts = edges[filled] - first
    finite = np.isfinite(part)
    joined = np.ones(len(filled), np.bool_)
    if finite.all():
        low, high = np.minimum.reduceat(part, starts), np.maximum.reduceat(part, starts)
    else:
        part = np.where(finite, part, np.nan)
        low, high = np.fmin.reduceat(part, starts), np.fmax.reduceat(part, starts)
        seen = np.isfinite(low)
        joined = _unbroken(finite, starts, seen)
        filled, low, high = filled[seen], low[seen], high[seen]
    if not len(filled):
        return _NOTHING
    joined[0] = False
    return _with_neighbours(Trace(filled, low, high, joined), x, y, x0, x1, columns, first, last)


def _unbroken(finite: NDArray[np.bool_], starts: NDArray[np.int64], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """For each column that has a finite sample: whether no NaN lies between it and the one before."""
    good = np.flatnonzero(finite)
    ends = np.append(starts[1:], len(finite))
    first = good[np.minimum(np.searchsorted(good, starts[seen]), len(good) - 1)]
    last = good[np.maximum(np.searchsorted(good, ends[seen]) - 1, 0)]
    broken = np.cumsum(~finite)
    joined = np.zeros(len(first), np.bool_)
    joined[1:] = broken[first[1:]] == broken[last[:-1]]
    return joined


def _crossing(x: NDArray[np.float64], y: NDArray[np.float64], x0: float, x1: float, columns: int, after: int) -> Trace:
    """The piece of a curve between two samples that lie outside on both sides."""
    if not 0 < after < len(x) or not np.isfinite(y[after - 1 : after + 1]).all():
        return _NOTHING
    ends = np.interp([x0, x1], x[after - 1 : after + 1], y[after - 1 : after + 1])
    return Trace(np.array([0, columns - 1]), ends, ends, np.array([False, True]))


def _with_neighbours(
    seen: Trace, x: NDArray[np.float64], y: NDArray[np.float64], x0: float, x1: float, columns: int, first: int, last: int
) -> Trace:
    """Let the curve run to the edges where the samples beyond them say it does."""
    at, low, high, joined = seen.columns, seen.low, seen.high, seen.joined
    if at[0] > 0 and 0 < first < len(x) and np.isfinite(y[first - 1 : first + 1]).all():
        value = np.interp(x0, x[first - 1 : first + 1], y[first - 1 : first + 1])
        at, low, high = np.append(0, at), np.append(value, low), np.append(value, high)
        joined = np.append(False, joined)
        joined[1] = True
    if at[-1] < columns - 1 and 0 < last < len(x) and np.isfinite(y[last - 1 : last + 1]).all():
        value = np.interp(x1, x[last - 1 : last + 1], y[last - 1 : last + 1])
        at, low, high, joined = (
            np.append(at, columns - 1),
            np.append(low, value),
            np.append(high, value),
            np.append(joined, True),
        )
    return Trace(at, low, high, joined)


class Raster:
    """A grid of `height` x `width` cells to draw on. What is drawn later lies on top."""

    def __init__(self, width: int, height: int, marker: Marker) -> None:
        self.width, self.height, self.marker = width, height, marker
        self.rows_per_cell, self.columns_per_cell = PIXELS[marker]
        self.owner = np.full((height, width), NOBODY, np.int16)
        self._codes = np.full((height, width), ord(" "), np.uint32)

    @property
    def pixel_columns(self) -> int:
        """Columns a trace for this raster has."""
        return self.width * self.columns_per_cell

    def draw(
        self, curve: Trace, low: NDArray[np.float64], high: NDArray[np.float64], owner: int, *, dotted: bool = False
    ) -> None:
        """Draw a trace whose ends stand at the heights `low` and `high` (0 bottom, 1 top); beyond the edges they are cut."""
        usable = np.isfinite(low) & np.isfinite(high)
        if not usable.any():
            return
        rows = self.height * self.rows_per_cell
        top = np.clip(np.rint((1 - high[usable]) * (rows - 1)), 0, rows - 1).astype(np.int64)
        bottom = np.clip(np.rint((1 - low[usable]) * (rows - 1)), 0, rows - 1).astype(np.int64)
        at, top, bottom = _connect(curve.columns[usable], top, bottom, curve.joined[usable])
        if dotted:
            period = 2 * self.columns_per_cell
            keep = at % period < period // 2
            at, top, bottom = at[keep], top[keep], bottom[keep]
        canvas = np.zeros((rows, self.pixel_columns), np.bool_)
        row = np.arange(rows)[:, None]
        canvas[:, at] = (row >= top) & (row <= bottom)
        bits = np.zeros((self.height, self.width), np.uint8)
        for y in range(self.rows_per_cell):
            for x in range(self.columns_per_cell):
                bits |= canvas[y :: self.rows_per_cell, x :: self.columns_per_cell] * _BITS[self.marker][y, x]
        hit = bits != 0
        self._codes[hit] = _CODES[self.marker][bits[hit]]
        self.owner[hit] = owner

    def put(self, row: int, column: int, text: str, owner: int) -> None:
        """Write characters over the picture; what lies outside is dropped."""
        for offset, char in enumerate(text):
            if 0 <= row < self.height and 0 <= column + offset < self.width:
                self._codes[row, column + offset] = ord(char)
                self.owner[row, column + offset] = owner

    def row_of(self, unit: float) -> int:
        """The row of cells in which the height `unit` lies."""
        pixels = self.height * self.rows_per_cell
        return int(np.clip(np.rint((1 - unit) * (pixels - 1)), 0, pixels - 1)) // self.rows_per_cell

    def spans(self, row: int, styles: list[str]) -> tuple[Span, ...]:
        """One row as runs of equal owner."""
        owner = self.owner[row]
        cuts = np.flatnonzero(np.diff(owner)) + 1
        text = self._codes[row].tobytes().decode("utf-32-le" if np.little_endian else "utf-32-be")
        ends = [0, *cuts.tolist(), self.width]
        return tuple(
            (text[start:end], "text" if owner[start] == NOBODY else styles[owner[start]])
            for start, end in itertools.pairwise(ends)
            if end > start
        )


def _connect(
    at: NDArray[np.int64], top: NDArray[np.int64], bottom: NDArray[np.int64], joined: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Fill empty columns between joined ones in a straight line, and close the vertical gaps between neighbours."""
    every = np.arange(at[0], at[-1] + 1)
    index = np.searchsorted(at, every, side="right") - 1
    exact = at[index] == every
    wanted = exact | joined[np.minimum(index + 1, len(at) - 1)]
    middle = np.rint(np.interp(every, at, (top + bottom) / 2)).astype(np.int64)
    top, bottom = np.where(exact, top[index], middle), np.where(exact, bottom[index], middle)
    linked = np.where(exact, joined[index], True)
    every, top, bottom, linked = every[wanted], top[wanted], bottom[wanted], linked[wanted]
    touching = linked[1:] & (np.diff(every) == 1)
    falls = touching & (top[1:] > bottom[:-1] + 1)
    rises = touching & (bottom[1:] < top[:-1] - 1)
    meet_down, meet_up = (top[1:] + bottom[:-1]) // 2, (bottom[1:] + top[:-1]) // 2
    new_top, new_bottom = top.copy(), bottom.copy()
    new_bottom[:-1] = np.where(falls, np.maximum(new_bottom[:-1], meet_down), new_bottom[:-1])
    new_top[1:] = np.where(falls, np.minimum(new_top[1:], meet_down + 1), new_top[1:])
    new_top[:-1] = np.where(rises, np.minimum(new_top[:-1], meet_up + 1), new_top[:-1])
    new_bottom[1:] = np.where(rises, np.maximum(new_bottom[1:], meet_up), new_bottom[1:])
    return every, new_top, new_bottom
