"""One chart as lines of spans: gutter, curves, axis with event marks, tick labels or the read-out of the crosshair."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tuitrain.tui.render.axes import range_label
from tuitrain.tui.render.chart_data import Chart, chart
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.metrics import BY_KEY, Metric
from tuitrain.tui.render.options import ChartOptions
from tuitrain.tui.render.raster import NOBODY, Raster, Trace, trace
from tuitrain.tui.render.readout import last_value, readout
from tuitrain.tui.render.scale import Kind, YScale, tick_labels, y_scale
from tuitrain.tui.render.spans import BLANK, Line, cut_text, fit, frame, join, plain, text_width
from tuitrain.tui.render.view import RunView

GUTTER = 6
"""Cells of the tick labels: constant, so that curves keep their columns while the axis moves."""
_MIN_WIDTH, _MIN_PLOT_ROWS = 24, 2


def chart_lines(data: Chart, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """The inside of a chart, `height` lines of `width` cells."""
    plot_width, plot_height = width - GUTTER - 1, height - 2
    if data.empty or width < _MIN_WIDTH or plot_height < _MIN_PLOT_ROWS:
        return _centred(data.empty or f"{data.metric.title} {last_value(data)}", width, height, glyphs)
    raster = Raster(plot_width, plot_height, glyphs.marker)
    traces = [trace(each.x, each.y, *data.window, raster.pixel_columns).scaled(data.factor) for each in data.curves]
    scale = _scale(data, traces)
    styles = [each.style for each in data.curves]
    for owner, (curve, each) in enumerate(zip(data.curves, traces, strict=True)):
        raster.draw(each, scale.unit(each.low), scale.unit(each.high), owner, dotted=curve.dotted)
    _draw_points(raster, data, scale, styles, glyphs)
    cursor = _cursor(raster, data, styles, glyphs)
    if not cursor:
        _draw_legend(raster, data, styles, glyphs)
    rows = _plot_rows(raster, scale, styles, glyphs)
    rows.append(((" " * GUTTER + glyphs.axis_corner, "axis"), *_axis_row(data, plot_width, glyphs)))
    rows.append(
        fit(readout(data, glyphs), width) if cursor else ((" " * (GUTTER + 1), "axis.label"), *_x_labels(data, plot_width))
    )
    return rows


def chart_pane(
    view: RunView,
    metric: Metric,
    options: ChartOptions,
    width: int,
    height: int,
    *,
    y_kind: Kind | None = None,
    active: bool = False,
) -> list[Line]:
    """A framed chart: its name and newest value on the left of the upper edge, how it is looked at on the right."""
    data = chart(view, metric, options, y_kind)
    lines = chart_lines(data, width - 2, height - 2, view.glyphs)
    title: Line = ((metric.title, "title"), (f" {last_value(data)}", "value"))
    scale_words = _looked_at(data, view.glyphs)
    note = next((each for each in scale_words if len(each) + len(metric.title) + 16 <= width), "") if not data.empty else ""
    edge, foot = ("frame.active", _marks_legend(data)) if active else ("frame", BLANK)
    return frame(
        lines, width, height, view.glyphs, title=title, right=((note, "dim"),) if note else BLANK, foot=foot, style=edge
    )


def render_text(
    view: RunView, key: str, width: int, height: int, *, options: ChartOptions | None = None, y_kind: Kind | None = None
) -> str:
    """One framed chart as plain text: what `--plain` and the tests show."""
    return plain(chart_pane(view, BY_KEY[key], options or ChartOptions(), width, height, y_kind=y_kind), view.glyphs)


def _looked_at(data: Chart, glyphs: Glyphs) -> list[str]:
    """How the chart is looked at, the fullest wording first. The range is always told."""
    window = range_label(data.options, data.axis, glyphs.dash)
    refused = y_scale("log", data.values).refused if data.y_kind == "log" else ""
    kind = refused or ("" if data.y_kind == "linear" else f"{data.y_kind} y")
    smooth = f"ema {data.options.smoothing:g}" if data.smoothed is not data.values else ""
    separator = f" {glyphs.separator} "
    return [
        separator.join(filter(None, (data.unit, kind, smooth, window))),
        separator.join(filter(None, (kind, window))),
        window,
    ]


def _marks_legend(data: Chart) -> Line:
    """What the marks on the axis stand for, those that occur."""
    kinds = {mark.name: (f"{mark.glyph} {mark.name}", mark.style) for mark in data.marks}
    return join([(each,) for each in kinds.values()], (("  ", "frame.active"),))


def _centred(text: str, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    rows: list[Line] = [BLANK] * max(0, height)
    if rows:
        short = text if text_width(text) <= width else text.split(":")[-1].strip()
        shown = cut_text(short, width, glyphs.ellipsis)
        rows[height // 2] = ((" " * max(0, (width - len(shown)) // 2), "text"), (shown, "dim"))
    return rows


def _scale(data: Chart, traces: list[Trace]) -> YScale:
    """The vertical axis: what was measured decides, what was planned and evaluated must be on it."""
    measured: list[NDArray[np.float64]] = []
    always: list[float] = []
    for curve, each in zip(data.curves, traces, strict=True):
        if curve.planned:
            always += (*each.low.tolist(), *each.high.tolist())
        else:
            measured += [each.low, each.high]
    inside = (data.points_x >= data.window[0]) & (data.points_x <= data.window[1])
    points = data.points_y[inside] * data.factor
    values = np.concatenate([*measured, points]) if measured or len(points) else np.empty(0)
    if data.y_kind == "log":  # the ghost starts at guessing; a plan at or below zero must not refuse the axis
        always = [each for each in always if each > 0]
    return y_scale(data.y_kind, values, always=always)


def _draw_points(raster: Raster, data: Chart, scale: YScale, styles: list[str], glyphs: Glyphs) -> None:
    """Evaluations as dots in the picture, missing values as crosses at its lower edge."""
    owner = len(styles)
    styles += ["point", "mark.nan"]
    units = scale.unit(np.asarray(data.points_y * data.factor, np.float64))
    for column, unit in zip(_columns(data, data.points_x, raster.width).tolist(), units.tolist(), strict=True):
        if column >= 0 and math.isfinite(unit):
            raster.put(raster.row_of(unit), column, glyphs.point, owner)
    for column in np.unique(_columns(data, data.nan_x, raster.width)).tolist():
        raster.put(raster.height - 1, column, glyphs.mark_nan, owner + 1)


def _columns(data: Chart, x: NDArray[np.float64], width: int) -> NDArray[np.int64]:
    """Cells in which places lie; -1 outside."""
    low, high = data.window
    inside = (x >= low) & (x <= high)
    cells = (
        np.minimum(((x - low) / (high - low) * width).astype(np.int64), width - 1) if high > low else np.zeros(len(x), np.int64)
    )
    return np.where(inside, cells, -1)


def _cursor(raster: Raster, data: Chart, styles: list[str], glyphs: Glyphs) -> bool:
    """The vertical line of the crosshair, behind the curves; whether there is one."""
    if data.options.cursor_step is None or not len(data.steps):
        return False
    column = int(_columns(data, np.array([data.axis.at(data.options.cursor_step)]), raster.width)[0])
    if column < 0:
        return False
    styles.append("cursor")
    for row in range(raster.height):
        if raster.owner[row, column] == NOBODY:
            raster.put(row, column, glyphs.cursor_line, len(styles) - 1)
    return True


def _draw_legend(raster: Raster, data: Chart, styles: list[str], glyphs: Glyphs) -> None:
    """Names of the curves in a corner that is free; none when there is no such corner or only one curve."""
    entries = [
        (f"{glyphs.legend_plan if each.dotted else glyphs.legend_line} {each.name}", each.style)
        for each in data.curves
        if each.name
    ]
    if len(data.points_x) and data.metric.source == "steps":
        entries.append((f"{glyphs.point} eval", "point"))
    length = sum(len(text) + 2 for text, _ in entries)
    if len(entries) < 2 or raster.height < 5 or length + 8 > raster.width:
        return
    corners = ((0, raster.width - length), (raster.height - 1, 1), (0, 1), (raster.height - 1, raster.width - length))
    for row, start in corners:
        if (raster.owner[row, start : start + length] == NOBODY).all():
            for text, style in reversed(entries):
                styles.append(style)
                raster.put(row, start, text, len(styles) - 1)
                start += len(text) + 2
            return


def _plot_rows(raster: Raster, scale: YScale, styles: list[str], glyphs: Glyphs) -> list[Line]:
    ticks = scale.ticks(max(2, raster.height // 3))
    at: dict[int, str] = {}
    for unit, label in zip(scale.unit(np.array(ticks)).tolist(), tick_labels(ticks), strict=True):
        row = raster.row_of(unit)
        if not {row - 1, row, row + 1} & at.keys() or raster.height < 4:
            at[row] = label[:GUTTER]
    rows: list[Line] = []
    for row in range(raster.height):
        edge = glyphs.axis_tick if row in at else glyphs.down
        rows.append(((f"{at.get(row, ''):>{GUTTER}}", "axis.label"), (edge, "axis"), *raster.spans(row, styles)))
    return rows


def _axis_row(data: Chart, width: int, glyphs: Glyphs) -> Line:
    """The axis with the marks of what happened."""
    cells: list[tuple[str, str]] = [(glyphs.across, "axis")] * width
    x = data.axis.of(np.array([each.step for each in data.marks]))
    for column, mark in zip(_columns(data, x, width).tolist(), data.marks, strict=True):
        if column >= 0:
            cells[column] = (mark.glyph, mark.style)
    return _runs(cells)


def _runs(cells: list[tuple[str, str]]) -> Line:
    """Cells of one style after another joined."""
    spans: list[tuple[str, str]] = []
    for text, style in cells:
        if spans and spans[-1][1] == style:
            spans[-1] = (spans[-1][0] + text, style)
        else:
            spans.append((text, style))
    return tuple(spans)


def _x_labels(data: Chart, width: int) -> Line:
    """Tick labels below the axis, and what it counts at its end."""
    low, high = data.window
    text = [" "] * width
    name = data.axis.kind
    room = width - len(name) - 1
    free_from = 0
    for tick in data.axis.ticks(low, high, max(2, width // 10)):
        label = data.axis.label(tick)
        column = int((tick - low) / (high - low) * width) if high > low else 0
        start = max(0, min(column - len(label) // 2, room - len(label)))
        if start >= free_from and column - len(label) // 2 <= room:
            text[start : start + len(label)] = label
            free_from = start + len(label) + 2
    if free_from <= room:
        text[room + 1 :] = name
    return (("".join(text), "axis.label"),)
