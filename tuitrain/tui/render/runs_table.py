"""The list of runs as lines: one run, one line. Columns come and go with the width; the name takes what is left."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuitrain.text import clean_line
from tuitrain.tui.render import format as fmt
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.header import bar
from tuitrain.tui.render.spans import Line, Span, cut_text, fit, text_width
from tuitrain.tui.render.summary import SPARK_POINTS, RunSummary

_GAP = 2
_STATE_CELLS = 14
_WIDTHS = {
    "state": _STATE_CELLS,
    "name": 0,
    "steps": 15,
    "bar": 12,
    "done": 4,
    "loss": 6,
    "eta": 9,
    "age": 4,
    "alerts": 3,
    "spark": SPARK_POINTS,
}
_HEADS = {
    "state": "state",
    "name": "run",
    "steps": "step",
    "bar": "",
    "done": "",
    "loss": "loss",
    "eta": "left",
    "age": "age",
    "alerts": "!",
    "spark": "loss so far",
}
_RIGHT = ("steps", "done", "loss", "eta", "age", "alerts")
_OPTIONAL = ("bar", "spark", "alerts", "steps", "age", "eta")
"""What goes first when it is narrow."""
_MIN_NAME = 25
"""A name of four letters with date and suffix."""


def columns(width: int) -> dict[str, int]:
    """Columns and their widths for a line of `width` cells (two of them are the cursor's)."""
    shown = dict(_WIDTHS)
    for name in ("", *_OPTIONAL):
        shown.pop(name, None)
        shown["name"] = 0
        room = width - 2 - sum(shown.values()) - _GAP * (len(shown) - 1)
        if room >= _MIN_NAME:
            break
    shown["name"] = max(4, min(room, 44))
    return shown


def head_line(width: int) -> Line:
    """Names of the columns."""
    cells = [_aligned(_HEADS[name], cells, name in _RIGHT) for name, cells in columns(width).items()]
    return fit((("  " + (" " * _GAP).join(cells), "label"),), width)


def run_line(run: RunSummary, width: int, now_s: float, glyphs: Glyphs, *, selected: bool = False) -> Line:
    """One run."""
    spans: list[Span] = [(f"{glyphs.cursor_row if selected else ' '} ", "cursor.row" if selected else "text")]
    for index, (name, cells) in enumerate(columns(width).items()):
        if index:
            spans.append((" " * _GAP, "text"))
        spans.extend(_cell(run, name, cells, now_s, glyphs))
    shown = fit(tuple(spans), width)
    return tuple((text, f"selected.{style}") for text, style in shown) if selected else shown


def _cell(run: RunSummary, name: str, cells: int, now_s: float, glyphs: Glyphs) -> Line:
    frac = run.step / run.total_steps if run.total_steps else math.nan
    if name == "bar":
        return fit(bar(frac, cells - 2, glyphs), cells) if math.isfinite(frac) else fit((), cells)
    if name == "spark":
        return fit(((sparkline(run.spark, glyphs), "series.blue"),), cells)
    if name == "state":
        text, style = run.badge.span(glyphs)
        return fit(((cut_text(text, cells, glyphs.ellipsis), style),), cells)
    texts = {
        "name": (clean_line(run.run_id), "title" if run.live else "text"),
        "steps": (f"{fmt.count(run.step)}/{fmt.count(run.total_steps)}" if run.total_steps else "", "text"),
        "done": (fmt.percent(min(1.0, frac)) if math.isfinite(frac) else "", "text"),
        "loss": (fmt.number(run.loss) if math.isfinite(run.loss) or run.step else "", "value"),
        "eta": (fmt.duration(run.eta_s) if math.isfinite(run.eta_s) else "", "value"),
        "age": (fmt.age(now_s - run.last_s) if run.last_s else "", "dim"),
        "alerts": (str(run.alerts) if run.alerts else "", "bad"),
    }
    text, style = texts[name]
    return ((_aligned(cut_text(text, cells, glyphs.ellipsis), cells, name in _RIGHT), style),)


def _aligned(text: str, cells: int, right: bool) -> str:
    space = " " * (cells - text_width(text))
    return space + text if right else text + space


def sparkline(values: Sequence[float], glyphs: Glyphs) -> str:
    """Values as levels between their least and greatest."""
    finite = [each for each in values if math.isfinite(each)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    top = len(glyphs.spark) - 1
    return "".join(glyphs.spark[round((each - low) / (high - low) * top) if high > low else 0] for each in finite)
