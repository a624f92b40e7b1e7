"""Loss against compute: the law's frontier, this model's own curve, this plan, and published models.

Compute is 6 N D, as the laws count it. The losses of published models are the law's for their size and tokens, on the text the
law was fitted on: they place a model, they are not what was measured of it.
"""

from __future__ import annotations

import math

import numpy as np

from tuitrain.runs.known_models import known_models
from tuitrain.tui.plan.explaining import six_nd
from tuitrain.tui.render.format import number
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.raster import NOBODY, Raster, Trace, trace
from tuitrain.tui.render.scale import YScale, tick_labels
from tuitrain.tui.render.spans import BLANK, Line, fit
from tuitrain_planners import LossLaw, Plan

GUTTER = 5
MIN_ROWS = 6
_POINTS = 200
_FRONTIER, _OWN, _PLAN, _KNOWN = range(4)
_STYLES = ["series.blue", "series.orange.raw", "alert", "plan"]


def plan_chart(plan: Plan, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """`height` lines of `width` cells."""
    plot_width, plot_height = width - GUTTER - 1, height - 2
    if plot_width < 20 or plot_height < MIN_ROWS - 2:
        return [fit((("no room for a chart here", "dim"),), width)]
    law, per_token = plan.request.law, plan.request.data_per_token
    parameters = plan.parameters.value
    low, high = _window(plan)
    flop = np.logspace(low, high, _POINTS)
    frontier = np.array([_best(law, each * per_token) for each in flop])
    own = np.array([law.loss(parameters, each / 6 / parameters * per_token) for each in flop])
    known = [(math.log10(6 * each.parameters * each.tokens), law.loss(each.parameters, each.tokens * per_token), each.name)
             for each in known_models()] if law.data_unit == "tokens" else []  # fmt: skip
    scale = _scale([float(frontier.min()), plan.loss.value, *(loss for _, loss, _ in known)])
    raster = Raster(plot_width, plot_height, glyphs.marker)
    x = np.linspace(low, high, _POINTS)
    for curve, owner, dotted in ((own, _OWN, True), (frontier, _FRONTIER, False)):
        drawn: Trace = trace(x, np.where(curve <= scale.high, curve, np.nan), low, high, raster.pixel_columns)
        raster.draw(drawn, scale.unit(drawn.low), scale.unit(drawn.high), owner, dotted=dotted)

    def cell(at: float, loss: float) -> tuple[int, int]:
        column = min(plot_width - 1, max(0, int((at - low) / (high - low) * plot_width)))
        return raster.row_of(float(scale.unit(np.array([loss]))[0])), column

    places = [(*cell(at, loss), name) for at, loss, name in known if low <= at <= high and loss <= scale.high]
    for row, column, _ in places:
        raster.put(row, column, glyphs.unknown, _KNOWN)
    here = cell(math.log10(six_nd(plan)), plan.loss.value)
    raster.put(*here, glyphs.running, _PLAN)
    _label(raster, *here, "this plan", _PLAN, always=True)
    for row, column, name in places:
        _label(raster, row, column, name, _KNOWN)
    return _rows(raster, scale, (low, high), glyphs)


def chart_note(plan: Plan) -> str:
    """What the plan's place means: how far above the frontier, and what would be best for the same compute."""
    law = plan.request.law
    best = _best(law, six_nd(plan) * plan.request.data_per_token)
    return f"{number(plan.loss.value)}, best for its compute {number(best)}"


def legend(plan: Plan, glyphs: Glyphs) -> str:
    """What the curves are."""
    name = plan.request.law.name
    return (
        f"{glyphs.legend_line} optimal by {name}  {glyphs.legend_plan} this model  {glyphs.unknown} published, loss by {name}"
    )


def _best(law: LossLaw, flop: float) -> float:
    """Loss of the best split of a compute."""
    parameters = law.optimal_parameters(flop)
    return law.loss(parameters, flop / 6 / parameters)


def _window(plan: Plan) -> tuple[float, float]:
    """Decades of compute shown: those of published models, and the plan's with one on either side."""
    at = math.log10(six_nd(plan))
    known = [math.log10(6 * each.parameters * each.tokens) for each in known_models()]
    return min(math.floor(at - 0.5), math.floor(min(known) - 0.5)), max(math.ceil(at + 0.5), math.ceil(max(known) + 0.3))


def _scale(losses: list[float]) -> YScale:
    """All points, and the lowest of the frontier, with some air."""
    low, high = min(losses), max(losses)
    air = 0.06 * (high - low)
    return YScale(kind="linear", low=low - air, high=high + air)


def _label(raster: Raster, row: int, column: int, text: str, owner: int, *, always: bool = False) -> None:
    """A name near its point, where nothing else is: beside it, else above or below. Where there is no such place none is
    written, unless it must `always` be: then over the curves, further up.
    """
    middle = min(max(0, column - len(text) // 2), raster.width - len(text))
    places = [(row, column + 2), (row, column - 1 - len(text)), *((row + by, middle) for by in (-1, 1, -2, 2))]
    for at, start in places:
        end = start + len(text)
        if 0 <= at < raster.height and start >= 0 and end <= raster.width and _free(raster, at, start, end):
            raster.put(at, start, text, owner)
            return
    if always:
        raster.put(row - 1 if row else row + 1, middle, text, owner)


def _free(raster: Raster, row: int, start: int, end: int) -> bool:
    return bool((raster.owner[row, max(0, start - 1) : min(raster.width, end + 1)] == NOBODY).all())


def _rows(raster: Raster, scale: YScale, window: tuple[float, float], glyphs: Glyphs) -> list[Line]:
    at: dict[int, str] = {}
    ticks = scale.ticks(max(2, raster.height // 2))
    for place, label in zip(scale.unit(np.array(ticks)).tolist(), tick_labels(ticks), strict=True):
        row = raster.row_of(place)
        if not {row - 1, row, row + 1} & at.keys():
            at[row] = label[:GUTTER]
    rows: list[Line] = []
    for row in range(raster.height):
        edge = glyphs.axis_tick if row in at else glyphs.down
        rows.append(((f"{at.get(row, ''):>{GUTTER}}", "axis.label"), (edge, "axis"), *raster.spans(row, _STYLES)))
    rows.append(((" " * GUTTER + glyphs.axis_corner + glyphs.across * raster.width, "axis"),))
    rows.append(((" " * (GUTTER + 1) + _x_labels(raster.width, *window), "axis.label"),))
    return [fit(row, raster.width + GUTTER + 1) if row else BLANK for row in rows]


def _x_labels(width: int, low: float, high: float) -> str:
    """Powers of ten below the axis, its unit at the end."""
    text, name = [" "] * width, "FLOP"
    free_from, room = 0, width - len(name) - 1
    for power in range(math.ceil(low), math.floor(high) + 1):
        label = f"1e{power}"
        column = int((power - low) / (high - low) * width)
        start = max(0, column - len(label) // 2)
        if start >= free_from and start + len(label) <= room:
            text[start : start + len(label)] = label
            free_from = start + len(label) + 3
    text[room + 1 :] = name
    return "".join(text)
