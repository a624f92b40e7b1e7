"""Which source each sequence comes from: a fixed, even interleaving that keeps every prefix in proportion.

The weights, read as the decimals they are written as, become whole shares of a period (0.7 and 0.3 give 7 and 3 of 10), and
one period is laid out so that after any number of sequences n every source has had more than n * share - 1 and less than
n * share + 1 of them. The period repeats, so nothing drifts however long the run, and place i is found by one look-up.

The layout is earliest-deadline-first over the windows in which each unit keeps its source within that bound; with all shares
adding up to one it always meets every deadline (Baruah, Cohen, Plaxton and Varvel 1996, Proportionate Progress,
https://doi.org/10.1007/BF01940883). Weights whose period would exceed MAX_PERIOD are rounded to shares of MAX_PERIOD: each
is then off by less than 1/65,536, once and for all, and `shares` says by how much.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_PERIOD: Final = 1 << 16


class Mixture:
    """Interleaving of sources by weight."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._units = _whole_shares(weights)
        self.period = sum(self._units)
        self._source = _layout(self._units)
        ranks = np.empty(self.period, np.int64)
        for source, units in enumerate(self._units):
            ranks[self._source == source] = np.arange(units)
        self._rank = ranks

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The exact share of each source."""
        return tuple(Fraction(units, self.period) for units in self._units)

    def locate(self, sequences: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each sequence its source, and how many sequences of that source came before it."""
        periods, places = np.divmod(sequences, self.period)
        sources = self._source[places]
        return sources, periods * np.array(self._units, np.int64)[sources] + self._rank[places]

    def counts(self, sequences: int) -> list[int]:
        """How many of the first `sequences` sequences each source has."""
        periods, rest = divmod(sequences, self.period)
        partial = np.bincount(self._source[:rest], minlength=len(self._units))
        return [periods * units + int(extra) for units, extra in zip(self._units, partial, strict=True)]


def _whole_shares(weights: Sequence[float]) -> list[int]:
    exact = [Fraction(repr(float(weight))) for weight in weights]
    assert exact, "a mixture of no sources"
    assert min(exact) > 0, f"weights are positive, not {list(weights)}"
    scale = math.lcm(*(weight.denominator for weight in exact))
    units = [int(weight * scale) for weight in exact]
    common = math.gcd(*units)
    units = [each // common for each in units]
    if (total := sum(units)) <= MAX_PERIOD:
        return units
    rounded = [max(1, each * MAX_PERIOD // total) for each in units]
    by_remainder = sorted(range(len(units)), key=lambda source: (-(units[source] * MAX_PERIOD % total), source))
    missing = MAX_PERIOD - sum(rounded)
    for source in by_remainder[: max(0, missing)]:
        rounded[source] += 1
    rounded[rounded.index(max(rounded))] += min(0, missing)  # sources lifted to one unit are paid for by the largest
    return rounded


def _layout(units: list[int]) -> NDArray[np.int64]:
    """Source of each place of one period. Unit j (from 0) of a source may stand at places [j/share, (j+1)/share)."""
    period = sum(units)
    layout = np.empty(period, np.int64)
    waiting = [(0, source, 0) for source in range(len(units))]  # (first place, source, unit)
    ready: list[tuple[int, int, int]] = []  # (deadline, source, unit)
    for place in range(period):
        while waiting and waiting[0][0] <= place:
            _, source, unit = heapq.heappop(waiting)
            heapq.heappush(ready, (-(-(unit + 1) * period // units[source]), source, unit))
        deadline, source, unit = heapq.heappop(ready)
        assert place < deadline, f"unit {unit} of source {source} is late: place {place}, deadline {deadline}"
        layout[place] = source
        if unit + 1 < units[source]:
            heapq.heappush(waiting, ((unit + 1) * period // units[source], source, unit + 1))
    return layout
