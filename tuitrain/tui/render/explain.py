"""The explain panel: what a number is, what it is now, what was planned and by which formula."""

from __future__ import annotations

import math

from tuitrain.text import clean
from tuitrain.tui.render import format as fmt
from tuitrain.tui.render.metrics import BY_KEY, has_rewards
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.spans import BLANK, Line
from tuitrain.tui.render.tiles import drift, measured_value, planned_value
from tuitrain.tui.render.view import RunView


def explain_lines(view: RunView, key: str, width: int) -> list[Line]:
    """Everything known about one tile."""
    metric = BY_KEY[key]
    value, planned = measured_value(view, key), planned_value(view, key)
    meaning = metric.preference_meaning if metric.preference_meaning and has_rewards(view) else metric.meaning
    rows: list[Line] = [((row, "text"),) for row in fill(meaning, width)]
    rows += [BLANK, (("measured  ", "label"), (metric.show(value) if math.isfinite(value) else fmt.MISSING, "value.big"))]
    rows += [((f"  {row}", "dim"),) for row in fill(metric.measured, width - 2)]
    rows.append(BLANK)
    if not math.isfinite(planned):
        return [*rows, (("planned   ", "label"), ("the plan says nothing about it", "dim"))]
    apart = drift(metric, value, planned, view.glyphs)
    rows.append(
        (("planned   ", "label"), (metric.show(planned), "value.big"), *(((f"  {apart[0]}", apart[1]),) if apart else ()))
    )
    for name in metric.formula_keys:
        text = formula(view, name)
        if text:
            rows += [BLANK, ((f"  {name}", "label"),)]
            rows += [((f"  {row}", "dim"),) for row in fill(text, width - 2)]
    return rows


def formula(view: RunView, name: str) -> str:
    """The explanation plan.json keeps under `explain` for one of the planner's figures; empty when there is none."""
    explained = view.plan.get("explain")
    text = explained.get(name) if isinstance(explained, dict) else None
    if isinstance(text, list):
        text = "\n".join(map(str, text))
    return clean(text) if isinstance(text, str) else ""
