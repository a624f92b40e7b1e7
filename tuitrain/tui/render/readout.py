"""What a chart says in words: its newest value, and everything known of the step under the crosshair."""

from __future__ import annotations

import math

import numpy as np

from tuitrain.tui.render.chart_data import Chart
from tuitrain.tui.render.format import MISSING, count
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.spans import BLANK, Line

_REACH_FRAC = 1 / 150
"""Marks this near to the crosshair, as a share of the window, are read out: about a cell."""


def last_value(data: Chart) -> str:
    """The newest value with its unit; a dash when there is none."""
    if not len(data.values) or (data.empty and not np.isfinite(data.values[-1])):
        return MISSING
    return data.metric.show(float(data.values[-1]))


def readout(data: Chart, glyphs: Glyphs) -> Line:
    """'step 8,204 · loss 2.214 (ema 2.198) · plan 2.190 · checkpoint saved'."""
    row = nearest(data)
    if row is None:
        return BLANK
    step, show = float(data.steps[row]), data.metric.show
    parts = [f"step {count(step)}", f"{data.metric.title} {show(float(data.values[row]))}"]
    if data.smoothed is not data.values:
        parts[-1] += f" (ema {show(float(data.smoothed[row]))})"
    planned = planned_at(data, step)
    if math.isfinite(planned):
        parts.append(f"plan {show(planned)}")
    reach = (data.window[1] - data.window[0]) * _REACH_FRAC
    near = [mark for mark in data.marks if mark.step == step or abs(data.axis.at(mark.step) - data.axis.at(step)) <= reach]
    parts += [mark.text for mark in near[-2:]]
    return ((f" {glyphs.separator} ".join(parts), "readout"),)


def nearest(data: Chart) -> int | None:
    """Row of the step nearest to the crosshair."""
    if data.options.cursor_step is None or not len(data.steps):
        return None
    after = int(np.searchsorted(data.steps, data.options.cursor_step))
    return min(
        (row for row in (after - 1, after) if 0 <= row < len(data.steps)),
        key=lambda row: abs(float(data.steps[row]) - float(data.options.cursor_step or 0)),
    )


def planned_at(data: Chart, step: float) -> float:
    """The plan at a step; NaN where there is none."""
    ghost = next((each for each in data.curves if each.planned), None)
    if ghost is None:
        return math.nan
    x = data.axis.at(step)
    return float(np.interp(x, ghost.x, ghost.y)) if ghost.x[0] <= x <= ghost.x[-1] else math.nan
