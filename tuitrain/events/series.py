"""Growable columns of numbers: what charts read. Append is amortised O(1); views share memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FIRST_CAPACITY = 1024


class Columns:
    """Rows of float64 with named columns. A missing value is NaN."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._index = {name: row for row, name in enumerate(names)}
        self._data = np.full((len(names), _FIRST_CAPACITY), np.nan)
        self._length = 0
        self.version = 0
        """Counts every change, so a viewer knows whether to repaint."""

    def __len__(self) -> int:
        return self._length

    def append(self, row: dict[str, float]) -> None:
        """Add one row; names that are no column are a programming error."""
        if self._length == self._data.shape[1]:
            self._data = np.concatenate([self._data, np.full_like(self._data, np.nan)], axis=1)
        for name, value in row.items():
            self._data[self._index[name], self._length] = value
        self._length += 1
        self.version += 1

    def column(self, name: str) -> NDArray[np.float64]:
        """View of one column. It stays valid, and does not grow, when rows are added."""
        return self._data[self._index[name], : self._length]

    def last(self, name: str) -> float:
        """The newest value of a column; NaN when there is none."""
        return float(self._data[self._index[name], self._length - 1]) if self._length else float("nan")

    def cut_after(self, name: str, limit: float) -> dict[str, NDArray[np.float64]]:
        """Remove the rows at the end whose `name` exceeds `limit` (a run that resumed from there); return them, copied."""
        keep = int(np.searchsorted(self.column(name), limit, side="right"))
        gone = {each: self.column(each)[keep:].copy() for each in self.names}
        self._data[:, keep : self._length] = np.nan
        self._length = keep
        self.version += 1
        return gone
