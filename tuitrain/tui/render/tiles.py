"""The tiles: one number each, what was planned beneath it, and how far apart the two are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuitrain.tui.render import format as fmt
from tuitrain.tui.render.chart_data import plan_curve
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.metrics import BY_KEY, Metric, has_rewards
from tuitrain.tui.render.spans import Line, Span, beside, cut, cut_text, fit, frame, join
from tuitrain.tui.render.view import RunView, recent_mean, recent_median

TILE_KEYS = ("loss", "speed", "mfu", "grad", "memory", "lr")
PREFERENCE_TILE_KEYS = ("loss", "margin", "accuracy", "speed", "grad", "memory", "lr")
SMALL_DRIFT_FRAC = 0.02
"""Within this of the plan a number counts as planned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A number and its plan, as text."""

    key: str
    label: str
    value: str
    below: str
    """The plan, or what else puts the number into proportion."""
    drift: Span | None = None
    """Direction and size of the distance to the plan."""


def tile_keys(view: RunView) -> tuple[str, ...]:
    """The tiles of a run."""
    return PREFERENCE_TILE_KEYS if has_rewards(view) else TILE_KEYS


def tiles(view: RunView) -> list[Tile]:
    """All tiles, in the order they are shown."""
    return [tile(view, key) for key in tile_keys(view)]


def tile(view: RunView, key: str) -> Tile:
    """One tile."""
    metric = BY_KEY[key]
    value, planned = measured_value(view, key), planned_value(view, key)
    label = {"memory": memory_label(view, "mem"), "lr": "lr", "grad": "grad"}.get(key, metric.title)
    below = f"plan {metric.show(planned)}" if math.isfinite(planned) else _proportion(view, key)
    known = math.isfinite(value) or (len(view.state.steps) > 0 and key in ("loss", "grad"))
    text = metric.show(value) if known else fmt.MISSING
    return Tile(key=key, label=label, value=text, below=below, drift=drift(metric, value, planned, view.glyphs))


def memory_label(view: RunView, word: str) -> str:
    """The word alone for one process; with the fullest of several named."""
    fullest = view.state.fullest
    return f"{word} rank {fullest.rank}" if fullest is not None and len(view.state.present_ranks) > 1 else word


def measured_value(view: RunView, key: str) -> float:
    """The number a tile shows; NaN while there is none. How it came about: `Metric.measured`."""
    state, metric = view.state, BY_KEY[key]
    if key in ("speed", "mfu"):
        return recent_median(state, metric.column, 20)
    if metric.runs == "preference":
        return recent_mean(state, metric.column, 20)
    if key == "memory":
        fullest = state.fullest
        if fullest is not None and len(state.present_ranks) > 1:
            return fullest.peak_bytes
        peaks = state.steps.column("peak_bytes")
        peak = float(peaks[-1]) if len(peaks) else math.nan
        return peak if math.isfinite(peak) else state.steps.last("memory_bytes")
    return (state.steps if metric.source == "steps" else state.evals).last(metric.column)


def planned_value(view: RunView, key: str) -> float:
    """What was planned for this moment: the loss at this step, everything else for the whole run."""
    if key == "loss":
        steps, losses = plan_curve(view)
        if len(steps) and len(view.state.steps):
            return float(np.interp(view.state.step, steps, losses))
    plan_key = BY_KEY[key].plan_key
    return view.planned(plan_key) if plan_key else math.nan


def drift(metric: Metric, value: float, planned: float, glyphs: Glyphs) -> Span | None:
    """'▲12%' in the colour of good or bad; None where there is no plan or no value."""
    frac = fmt.relative(value, planned)
    if not math.isfinite(frac):
        return None
    if abs(frac) < SMALL_DRIFT_FRAC:
        return glyphs.same, "good"
    arrow = glyphs.up if frac > 0 else glyphs.down_arrow
    good = (frac < 0) == (metric.better == "low")
    return f"{arrow}{abs(frac):.0%}", "good" if good else "bad"


def _proportion(view: RunView, key: str) -> str:
    """What stands beneath a number that nobody planned."""
    steps = view.state.steps
    if key == "grad" and len(steps):
        recent = steps.column("grad_norm")[-500:]
        recent = recent[np.isfinite(recent)]
        return f"p95 {fmt.number(float(np.percentile(recent, 95)))}" if len(recent) else ""
    if key == "lr":
        schedule = view.config.get("schedule")
        kind = schedule.get("kind") if isinstance(schedule, dict) else None
        return str(kind)[:12] if kind else ""
    if BY_KEY[key].runs == "preference" and math.isfinite(held_out := view.state.evals.last(BY_KEY[key].eval_column)):
        return f"eval {BY_KEY[key].show(held_out)}"
    if key == "mfu" and not math.isfinite(measured_value(view, key)) and len(steps):
        return "peak unknown"
    return ""


def tiles_row(view: RunView, width: int) -> list[Line]:
    """All tiles in one line; the last ones go first when it is narrow."""
    separator: Line = ((f" {view.glyphs.down} ", "frame"),)
    shown = tiles(view)
    while shown:
        row = join([_inline(each) for each in shown], separator)
        if sum(len(text) for text, _ in row) <= width or len(shown) == 1:
            return [fit(row, width)]
        shown.pop()
    return [fit((), width)]


def _inline(each: Tile) -> Line:
    short: Line = ((f"{each.label} ", "label"), (each.value, "value"))
    return (*short, (each.drift[0][0], each.drift[1])) if each.drift else short


def tiles_block(view: RunView, width: int) -> list[Line]:
    """All tiles as boxes of four lines, as wide as the screen."""
    shown = tiles(view)
    base, more = divmod(width, len(shown))
    widths = [base + (index < more) for index in range(len(shown))]
    return beside([(_box(each, cell, view.glyphs), cell) for each, cell in zip(shown, widths, strict=True)], 4)


def _box(each: Tile, width: int, glyphs: Glyphs) -> list[Line]:
    inner = width - 2
    value: Line = ((" ", "text"), (each.value, "value.big"))
    below: Line = ((" ", "text"), (cut_text(each.below, inner - 1, glyphs.ellipsis), "dim"))
    if each.drift and len(each.below) + len(each.drift[0]) + 3 <= inner:
        below = (*below, (" ", "text"), each.drift)
    elif each.drift:
        value = (*value, (" ", "text"), each.drift)
    return frame([cut(value, inner), below], width, 4, glyphs, title=((each.label, "label"),))
