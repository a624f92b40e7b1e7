"""The horizontal axis: where a step lies in steps, tokens or seconds since the start, and where the whole run would end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuitrain.tui.render.format import si
from tuitrain.tui.render.options import TAIL_STEPS, ChartOptions, XAxis
from tuitrain.tui.render.scale import linear_ticks, time_label, time_ticks
from tuitrain.tui.render.view import RunView


@dataclass(frozen=True, kw_only=True, slots=True)
class StepAxis:
    """Places of steps on the axis chosen."""

    kind: XAxis
    steps: NDArray[np.float64]
    """Steps trained, ascending."""
    x: NDArray[np.float64]
    """Where each of them lies."""
    total_steps: float
    """Steps of the whole run; those trained when it is unknown."""
    per_step: float
    """What one step beyond the trained ones adds to x."""
    plan_per_step: float
    """What one step was planned to add to x; NaN when there is no such plan."""

    def of(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where these steps lie: between trained ones by interpolation, beyond the last by the present pace."""
        steps = np.asarray(steps, np.float64)
        if self.kind == "step" or not len(self.steps):
            return steps * (1.0 if self.kind == "step" else self.per_step)
        inside = np.interp(steps, self.steps, self.x)
        before = self.x[0] - (self.steps[0] - steps) * self.per_step
        after = self.x[-1] + (steps - self.steps[-1]) * self.per_step
        return np.where(steps < self.steps[0], np.maximum(0.0, before), np.where(steps > self.steps[-1], after, inside))

    def at(self, step: float) -> float:
        """Where one step lies."""
        return float(self.of(np.array([step]))[0])

    def planned(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where these steps were planned to lie."""
        return steps * self.plan_per_step if math.isfinite(self.plan_per_step) else self.of(steps)

    def step_at(self, x: float) -> float:
        """The step nearest to a place on the axis."""
        if self.kind == "step":
            return x
        grid = np.linspace(0, max(1.0, self.total_steps), 1024)
        return float(np.interp(x, self.of(grid), grid))

    def label(self, x: float) -> str:
        """A tick label."""
        return time_label(x) if self.kind == "time" else si(x, 4)

    def ticks(self, low: float, high: float, parts: int) -> list[float]:
        """Round places within [low, high]."""
        if self.kind == "time":
            return time_ticks(low, high, parts)
        return linear_ticks(low, high, max(1, min(parts, int(high - low))))  # no tick between two steps


def step_axis(view: RunView, kind: XAxis) -> StepAxis:
    """The axis of a run."""
    state = view.state
    steps = state.steps.column("step")
    last = float(steps[-1]) if len(steps) else float(state.step)
    total = max(float(state.total_steps), last)
    x, per_step, plan_per_step = steps, 1.0, 1.0
    if kind == "tokens":
        per_step = state.start.number("tokens_per_step") if state.start else math.nan
        known = state.steps.column("tokens_total")
        if not per_step > 0:
            per_step = float(known[-1]) / last if len(known) and last and known[-1] > 0 else 1.0
        x = np.maximum.accumulate(known) if len(known) and np.isfinite(known).all() else steps * per_step
        plan_per_step = per_step
    elif kind == "time":
        x = np.maximum(0.0, state.steps.column("t_s") - _began_s(view))
        x = np.maximum.accumulate(x) if len(x) else x
        per_step = view.recent_step_s if math.isfinite(view.recent_step_s) else 1.0
        plan_per_step = view.planned("duration_s") / total if total else math.nan
    return StepAxis(kind=kind, steps=steps, x=x, total_steps=total, per_step=per_step, plan_per_step=plan_per_step)


def _began_s(view: RunView) -> float:
    """When training began: the first step's end less its own length. Loading and compiling before it are not plotted."""
    state = view.state
    if not len(state.steps):
        return state.first_t_ns / 1e9
    first_s = float(np.nan_to_num(state.steps.column("step_s")[0]))
    return float(state.steps.column("t_s")[0]) - first_s


def step_window(options: ChartOptions, axis: StepAxis) -> tuple[float, float]:
    """First and last step shown."""
    last = float(axis.steps[-1]) if len(axis.steps) else 0.0
    if options.range == "frozen" and options.window is not None:
        return options.window
    if options.range == "tail" and last:
        return max(0.0, last - TAIL_STEPS), max(last, 1.0)
    if options.range == "all" and last:
        return (float(axis.steps[0]) if axis.steps[0] < last else 0.0), last
    return 0.0, max(1.0, axis.total_steps)


def range_label(options: ChartOptions, axis: StepAxis, dash: str) -> str:
    """'plan 0-20k', 'all 0-8.2k', 'last 500', 'frozen 2k-3k'."""
    low, high = step_window(options, axis)
    if options.range == "tail":
        return f"last {high - low:.0f}"
    return f"{options.range} {si(low)}{dash}{si(high)}"
