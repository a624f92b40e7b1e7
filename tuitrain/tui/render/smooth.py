"""Exponential smoothing as TensorBoard and Weights & Biases do it, without a Python loop over the points.

    last = w * last + (1 - w) * y        out = last / (1 - w ** n)        n counts the finite values so far

The division takes out the pull towards the zero it starts from. A NaN leaves the state as it is and stays NaN.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

_BLOCK = 128
LEVELS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)


class Smoother:
    """The smoothed copy of one growing series; each call computes only what is new."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._done = 0
        self._finite = 0
        self._last = 0.0
        self._out: NDArray[np.float64] = np.empty(1024)

    def update(self, values: NDArray[np.float64], weight: float, epoch: Hashable = None) -> NDArray[np.float64]:
        """Smoothed `values`. `epoch` changes when values already seen were replaced, as after a resume."""
        if weight <= 0:
            return values
        if self._key != (weight, epoch) or len(values) < self._done:
            self._key, self._done, self._finite, self._last = (weight, epoch), 0, 0, 0.0
        if len(values) > len(self._out):
            grown = np.empty(max(len(values), 2 * len(self._out)))
            grown[: self._done] = self._out[: self._done]
            self._out = grown
        new = values[self._done :]
        if len(new):
            self._extend(new, weight)
        return self._out[: len(values)]

    def _extend(self, new: NDArray[np.float64], weight: float) -> None:
        out = self._out[self._done : self._done + len(new)]
        good = np.isfinite(new)
        finite = new[good]
        biased, self._last = _ema(finite, weight, self._last)
        counts = self._finite + np.arange(1, len(finite) + 1)
        out[:] = np.nan
        out[good] = biased / (1 - np.power(weight, counts))
        self._finite += len(finite)
        self._done += len(new)


def _ema(values: NDArray[np.float64], weight: float, last: float) -> tuple[NDArray[np.float64], float]:
    """(biased averages, the last one). Blocks of values are multiplied by one triangular matrix; only block ends are a loop."""
    out = np.empty_like(values)
    powers, triangle = _matrices(weight)
    whole = len(values) // _BLOCK * _BLOCK
    if whole:
        local = values[:whole].reshape(-1, _BLOCK) @ triangle.T
        starts = np.empty(len(local))
        for row, end in enumerate(local[:, -1].tolist()):
            starts[row] = last
            last = end + powers[-1] * last
        out[:whole] = (local + starts[:, None] * powers).ravel()
    for index in range(whole, len(values)):
        last = weight * last + (1 - weight) * values[index]
        out[index] = last
    return out, float(last)


@functools.lru_cache(maxsize=len(LEVELS))
def _matrices(weight: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(w^1 ... w^B, lower triangle of (1 - w) w^(row - column))."""
    steps = np.arange(_BLOCK)
    lag = steps[:, None] - steps[None, :]
    return np.power(weight, steps + 1.0), np.where(lag >= 0, (1 - weight) * np.power(weight, np.maximum(lag, 0)), 0.0)
