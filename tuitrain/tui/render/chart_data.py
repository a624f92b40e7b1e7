"""From a run to the curves of one chart: raw behind smoothed, the plan, abandoned branches, evaluation points, marks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuitrain.tui.render.axes import StepAxis, step_axis, step_window
from tuitrain.tui.render.marks import Mark, marks
from tuitrain.tui.render.metrics import Metric, axis_unit, finite_max
from tuitrain.tui.render.options import ChartOptions
from tuitrain.tui.render.scale import Kind
from tuitrain.tui.render.smooth import Smoother
from tuitrain.tui.render.status import waiting_for
from tuitrain.tui.render.view import RunView

Values = NDArray[np.float64]
_NO_VALUES = np.empty(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One line of a chart, x ascending."""

    x: Values
    y: Values
    style: str
    name: str = ""
    """For the legend; nameless curves are not in it."""
    dotted: bool = False
    planned: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Everything one chart shows, in the units of its axis."""

    metric: Metric
    options: ChartOptions
    y_kind: Kind
    axis: StepAxis
    window: tuple[float, float]
    """First and last x shown."""
    unit: str
    factor: float
    """What curves are multiplied by to come to `unit`."""
    curves: tuple[Curve, ...]
    """In the order they are drawn."""
    points_x: Values
    points_y: Values
    nan_x: Values
    marks: tuple[Mark, ...]
    empty: str
    """What an empty chart waits for; empty when there is something to see."""
    steps: Values
    values: Values
    smoothed: Values


def chart(view: RunView, metric: Metric, options: ChartOptions, y_kind: Kind | None = None) -> Chart:
    """The chart of one metric."""
    state, axis = view.state, step_axis(view, options.x_axis)
    columns = state.steps if metric.source == "steps" else state.evals
    steps, values = columns.column("step"), columns.column(metric.column)
    x = axis.x if metric.source == "steps" else axis.of(steps)
    low, high = step_window(options, axis)
    window = (axis.at(low), axis.at(high))
    smoothed = _smoothed(view, metric, metric.column, values, options.smoothing)
    factor, unit = axis_unit(metric, max(finite_max(values), view.planned(metric.plan_key) if metric.unit == "bytes" else 0.0))
    known = bool(np.isfinite(values[-1:]).any() or np.isfinite(values).any())
    curves = [*_planned(view, metric, axis, window), *_abandoned(view, metric, options)]
    curves += _companions(view, metric, x, options)
    if smoothed is values:
        curves.append(Curve(x=x, y=values, style=metric.style, name="measured"))
    else:
        curves.append(Curve(x=x, y=values, style=metric.style + ".raw"))
        curves.append(Curve(x=x, y=smoothed, style=metric.style, name="smoothed"))
    evals = metric.column if metric.source == "evals" else metric.eval_column
    bad = x[~np.isfinite(values)] if known and metric.source == "steps" and metric.key in ("loss", "grad") else _NO_VALUES
    return Chart(
        metric=metric,
        options=options,
        y_kind=y_kind or metric.y_scale,
        axis=axis,
        window=window,
        unit=unit,
        factor=factor,
        curves=tuple(curves),
        points_x=axis.of(state.evals.column("step")) if evals else _NO_VALUES,
        points_y=state.evals.column(evals) if evals else _NO_VALUES,
        nan_x=bad,
        marks=tuple(marks(state, view.glyphs)),
        empty="" if known else _empty(view, metric),
        steps=steps,
        values=values,
        smoothed=smoothed,
    )


def _companions(view: RunView, metric: Metric, x: Values, options: ChartOptions) -> list[Curve]:
    """The curves beside the metric's own, smoothed like it."""
    curves = []
    for each in metric.companions:
        values = view.state.steps.column(each.column)
        smoothed = _smoothed(view, metric, each.column, values, options.smoothing)
        curves.append(Curve(x=x, y=smoothed, style=each.style, name=each.name, dotted=each.dotted))
    return curves


def _smoothed(view: RunView, metric: Metric, column: str, values: Values, weight: float) -> Values:
    """The smoothed curve, continued from the last frame's; the values themselves where smoothing means nothing."""
    if weight <= 0 or metric.source == "evals" or metric.key in ("lr", "memory"):
        return values
    smoother = view.smoothers.setdefault(column, Smoother())
    return smoother.update(values, weight, (view.epoch, len(view.state.abandoned)))


def _planned(view: RunView, metric: Metric, axis: StepAxis, window: tuple[float, float]) -> list[Curve]:
    """The ghost: the planned loss curve, or a level line."""
    if metric.key == "loss":
        steps, losses = plan_curve(view)
        if len(steps):
            return [Curve(x=axis.planned(steps), y=losses, style="plan", name="planned", dotted=True, planned=True)]
    value = view.planned(metric.plan_key) if metric.plan_key else math.nan
    if not math.isfinite(value):
        return []
    return [Curve(x=np.array(window), y=np.array([value, value]), style="plan", name="planned", dotted=True, planned=True)]


def plan_curve(view: RunView) -> tuple[Values, Values]:
    """(steps, losses) of the plan, ascending; empty when the plan has no curve."""
    raw = view.plan_event.get("loss_curve")
    try:
        pairs = np.asarray(raw, np.float64)
    except (TypeError, ValueError):
        return _NO_VALUES, _NO_VALUES
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        return _NO_VALUES, _NO_VALUES
    order = np.argsort(pairs[:, 0], kind="stable")
    return pairs[order, 0], pairs[order, 1]


def _abandoned(view: RunView, metric: Metric, options: ChartOptions) -> list[Curve]:
    """Steps that were trained and given up, dimmed."""
    if metric.source != "steps":
        return []
    state, curves = view.state, []
    for branch in state.abandoned:
        if options.x_axis == "time":
            first_s = float(state.steps.column("t_s")[0]) if len(state.steps) else float(branch["t_s"][0])
            x = branch["t_s"] - first_s
        else:
            x = branch["step"] if options.x_axis == "step" else branch["tokens_total"]
        if len(x) and np.isfinite(x).all():
            curves.append(Curve(x=np.maximum.accumulate(x), y=branch[metric.column], style="abandoned"))
    if curves:
        curves[0] = Curve(x=curves[0].x, y=curves[0].y, style="abandoned", name="abandoned")
    return curves


def _empty(view: RunView, metric: Metric) -> str:
    if metric.source == "evals":
        return "waiting for the first evaluation" if not view.state.ended else "nothing was evaluated"
    if not len(view.state.steps):
        return waiting_for(view.state, view.liveness)
    if metric.key == "mfu":
        return "the peak of this device is not known, so there is no MFU"
    return f"this run reports no {metric.title}"
