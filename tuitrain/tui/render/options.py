"""How charts are looked at: axis, smoothing, range, cursor. Frozen values and the pure steps between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tuitrain.tui.render.smooth import LEVELS

XAxis = Literal["step", "tokens", "time"]
X_AXES: tuple[XAxis, ...] = ("step", "tokens", "time")
Range = Literal["plan", "all", "tail", "frozen"]
TAIL_STEPS = 500
MIN_WINDOW_STEPS = 10.0
_ZOOM = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartOptions:
    """What all charts of a screen share."""

    x_axis: XAxis = "step"
    smoothing: float = 0.9
    range: Range = "plan"
    window: tuple[float, float] | None = None
    """First and last step shown while `range` is frozen."""
    cursor_step: float | None = None

    def next_axis(self) -> ChartOptions:
        """step, tokens, time, step ..."""
        return replace(self, x_axis=X_AXES[(X_AXES.index(self.x_axis) + 1) % len(X_AXES)])

    def smoother(self, direction: int) -> ChartOptions:
        """One level more (+1) or less (-1) smoothing."""
        index = min(range(len(LEVELS)), key=lambda each: abs(LEVELS[each] - self.smoothing))
        return replace(self, smoothing=LEVELS[min(len(LEVELS) - 1, max(0, index + direction))])

    def next_range(self) -> ChartOptions:
        """plan, all, tail, plan ...; a frozen view goes back to the plan."""
        following: dict[Range, Range] = {"plan": "all", "all": "tail", "tail": "plan", "frozen": "plan"}
        return replace(self, range=following[self.range], window=None)

    def reset(self) -> ChartOptions:
        """The whole plan, no cursor."""
        return replace(self, range="plan", window=None, cursor_step=None)

    def freeze(self, window: tuple[float, float]) -> ChartOptions:
        """Stay at this window, whatever comes in."""
        return replace(self, range="frozen", window=window)

    def zoom(self, window: tuple[float, float], direction: int, limits: tuple[float, float]) -> ChartOptions:
        """Show less (+1) or more (-1) around the cursor, or around the middle of the window."""
        low, high = window
        centre = self.cursor_step if self.cursor_step is not None and low <= self.cursor_step <= high else (low + high) / 2
        factor = _ZOOM**-direction
        span = max(MIN_WINDOW_STEPS, (high - low) * factor)
        share = (centre - low) / (high - low) if high > low else 0.5
        return self.freeze(_within((centre - span * share, centre + span * (1 - share)), limits))

    def pan(self, window: tuple[float, float], direction: int, limits: tuple[float, float]) -> ChartOptions:
        """Move the window by a quarter of itself."""
        shift = direction * (window[1] - window[0]) / 4
        return self.freeze(_within((window[0] + shift, window[1] + shift), limits))

    def move_cursor(self, steps: float, limits: tuple[float, float]) -> ChartOptions:
        """Move the crosshair; it appears at the newest step."""
        start = limits[1] if self.cursor_step is None else self.cursor_step + steps
        return replace(self, cursor_step=min(limits[1], max(limits[0], start)))


def _within(window: tuple[float, float], limits: tuple[float, float]) -> tuple[float, float]:
    """The window moved inside the limits, and cut when it is wider than they are."""
    span = min(window[1] - window[0], limits[1] - limits[0])
    low = min(max(window[0], limits[0]), limits[1] - span)
    return low, low + span
