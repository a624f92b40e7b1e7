"""Axes: which values they span, where their ticks lie (1-2-5), how a value becomes a height between 0 and 1.

A log axis needs positive values; where it is refused, the scale says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuitrain.tui.render.format import exponent, si

Kind = Literal["linear", "log", "robust"]
KINDS: tuple[Kind, ...] = ("linear", "log", "robust")
_MANTISSAS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
)
_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def nice_step(span: float, parts: int) -> float:
    """The smallest of 1, 2, 5 x 10^k that divides `span` into at most `parts` parts."""
    raw = span / max(1, parts)
    if not raw > 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(raw))
    return next((factor * magnitude for factor in (1, 2, 5) if raw <= factor * magnitude * (1 + 1e-9)), 10 * magnitude)


def linear_ticks(low: float, high: float, parts: int) -> list[float]:
    """Multiples of a nice step within [low, high]."""
    step = nice_step(high - low, parts)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float, parts: int) -> list[float]:
    """Round values within [low, high], as many as `parts` allows: powers of ten, then 1-3, 1-2-5 and finer."""
    best: list[float] = []
    for mantissas in _MANTISSAS:
        powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
        ticks = [
            value
            for power in powers
            for each in mantissas
            if low * (1 - 1e-9) <= (value := each * 10.0**power) <= high * (1 + 1e-9)
        ]
        if len(ticks) > parts + 1:
            break
        best = ticks
    return best if len(best) >= 2 else linear_ticks(low, high, parts)


def time_ticks(low_s: float, high_s: float, parts: int) -> list[float]:
    """Multiples of a step that clocks have: seconds, minutes, hours, then whole days."""
    raw = (high_s - low_s) / max(1, parts)
    step = next((float(each) for each in _TIME_STEPS_S if each >= raw), 86400.0 * max(1.0, math.ceil(raw / 86400)))
    return [index * step for index in range(math.ceil(low_s / step - 1e-9), math.floor(high_s / step + 1e-9) + 1)]


def time_label(seconds: float) -> str:
    """'0', '30s', '5m', '1h30', '2d'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s" if whole else "0"
    if whole < 3600:
        return f"{whole // 60}m" + (f"{whole % 60:02d}" if whole % 60 else "")
    if whole < 86400:
        return f"{whole // 3600}h" + (f"{whole % 3600 // 60:02d}" if whole % 3600 // 60 else "")
    return f"{whole / 86400:.3g}d"


@dataclass(frozen=True, kw_only=True, slots=True)
class YScale:
    """A vertical axis."""

    kind: Kind
    low: float
    high: float
    refused: str = ""
    """Why the axis is not the one asked for; empty when it is."""

    def unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """0 at the lower end, 1 at the upper; NaN where a log axis has no place for the value."""
        if self.kind == "log":
            low, high = math.log10(self.low), math.log10(self.high)
            values = np.log10(np.where(values > 0, values, np.nan))
        else:
            low, high = self.low, self.high
        return (values - low) / (high - low)

    def ticks(self, parts: int) -> list[float]:
        """Values worth a label."""
        return log_ticks(self.low, self.high, parts) if self.kind == "log" else linear_ticks(self.low, self.high, parts)


def y_scale(kind: Kind, values: NDArray[np.float64], *, always: Sequence[float] = (), parts: int = 4) -> YScale:
    """The axis that holds all finite `values`, its ends moved out to round numbers so that it stays put while data grow.

    `robust` holds the middle 98 % and `always` (the plan), and cuts the rest off at the edge. `log` falls back to linear when a
    value is not positive.
    """
    finite = values[np.isfinite(values)]
    kept = [each for each in always if math.isfinite(each)]
    refused = ""
    if not len(finite) and not kept:
        return YScale(kind="linear", low=0.0, high=1.0)
    if kind == "robust" and len(finite):
        kept += (float(each) for each in np.percentile(finite, (1, 99)))
    elif len(finite):
        kept += (float(finite.min()), float(finite.max()))
    low, high = min(kept), max(kept)
    if kind == "log" and low <= 0:
        kind, refused = "linear", "log needs values > 0"
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = _around(low)
    if kind == "log":
        low, high = _log_ends(low, high)
    else:
        step = nice_step(high - low, parts)
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return YScale(kind=kind, low=low, high=high, refused=refused)


def _around(value: float) -> tuple[float, float]:
    """Room for a constant, without leaving its sign."""
    if value == 0:
        return 0.0, 1.0
    low, high = sorted((value * 0.9, value * 1.1))
    return low, high


def _log_ends(low: float, high: float) -> tuple[float, float]:
    """The next round values outside; finer ones the narrower the axis is."""
    mantissas = _MANTISSAS[4] if high / low < 4 else _MANTISSAS[3]
    below = [each * 10.0 ** math.floor(math.log10(low)) for each in mantissas]
    above = [each * 10.0 ** math.floor(math.log10(high)) for each in (*mantissas, 10.0)]
    return max(each for each in below if each <= low * (1 + 1e-9)), min(each for each in above if each >= high * (1 - 1e-9))


def tick_labels(ticks: list[float]) -> list[str]:
    """One label per tick, all with the decimals the smallest distance between two of them needs."""
    if not ticks:
        return []
    largest = max(map(abs, ticks))
    if largest >= 10_000:
        return [si(each, _digits(ticks)) for each in ticks]
    if 0 < largest < 1e-2:
        return ["0" if each == 0 else exponent(each, _digits(ticks)) for each in ticks]
    decimals = max(map(_decimals, ticks))
    return [f"{each:.{decimals}f}" for each in ticks]


def _digits(ticks: list[float]) -> int:
    """Significant digits that tell these round values exactly, at most five."""
    return next((digits for digits in range(1, 5) if all(math.isclose(float(f"{each:.{digits}g}"), each) for each in ticks)), 5)


def _decimals(value: float) -> int:
    """Decimals a round value needs, at most four."""
    text = f"{value:.4f}".rstrip("0")
    return len(text) - text.index(".") - 1
