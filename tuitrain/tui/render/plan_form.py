"""The form: a label and a value a row; under the row being typed into the names that match, under a wrong one what is wrong."""

from __future__ import annotations

from tuitrain.text import clean_line
from tuitrain.tui.plan.fields import FIELDS, OPTIMAL, Field
from tuitrain.tui.plan.layout import folded_labels
from tuitrain.tui.plan.state import Planning
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.spans import BLANK, Line, cut_text, fit
from tuitrain_planners import format_count

LABEL_CELLS = 13
OFFERED_ROWS = 6
_ERROR_ROWS = 5


def form_lines(planning: Planning, width: int, height: int, glyphs: Glyphs) -> tuple[list[Line], list[int]]:
    """(lines, the field's index of each): `height` rows around the cursor; what belongs to no field has index -1."""
    rows: list[Line] = []
    owners: list[int] = []
    first = last = 0
    for index in planning.visible:
        each = FIELDS[index]
        on = index == planning.row
        block = [_row(planning, each, on, width, glyphs)]
        if on and planning.editor is not None and each.kind == "name":
            block += _offered(planning, width, glyphs)
        if planning.error is not None and index == planning.error_row:
            block += _error(planning, width)
        if on:
            first, last = len(rows), len(rows) + len(block)
        rows += block
        owners += [index] + [-1] * (len(block) - 1)
    tip = fill(planning.current.tip, width - 2)
    if len(rows) + 1 + len(tip) <= height:
        rows += [BLANK, *(((f" {text}", "dim"),) for text in tip)]
        owners += [-1] * (1 + len(tip))
    start = max(0, min(max(last - height, 0), first)) if len(rows) > height else 0
    return rows[start : start + height], owners[start : start + height]


def _row(planning: Planning, each: Field, on: bool, width: int, glyphs: Glyphs) -> Line:
    """One field."""
    room = width - LABEL_CELLS - 1
    wrong = planning.error is not None and planning.error_row == FIELDS.index(each)
    mark = glyphs.cursor_row if on else " "
    label = ((mark, "cursor.row"), (f"{each.label:<{LABEL_CELLS}}", "title" if on else "label"))
    if on and planning.editor is not None:
        return fit((*label, *_typed(planning, room, glyphs)), width)
    text = _standing(planning, each)
    style = "mark.guard" if wrong else "value.big" if on else "value"
    if each.kind == "fold":
        shown: Line = ((cut_text(text, room, glyphs.ellipsis), "title" if on else "dim"),)
    elif on and each.kind in ("choice", "whole", "degree"):
        shown = ((f"< {cut_text(text, room - 4, glyphs.ellipsis)} >", style),)
    else:
        shown = ((cut_text(text, room, glyphs.ellipsis), style),)
    return fit((*label, *shown), width)


def _standing(planning: Planning, each: Field) -> str:
    """What stands in a field; of the fold, what is behind it; of a length that no law can tell, what is taken instead."""
    if each.kind == "fold":
        if planning.unfolded:
            return "fewer"
        shape = None if planning.planned is None else planning.planned.request.shape
        return ", ".join(folded_labels(planning.form, shape))
    text = clean_line(planning.form[each.key])
    if each.key == "length" and text in ("", OPTIMAL) and planning.planned is not None:
        plan = planning.planned
        return text if plan.is_pretraining else f"{format_count(plan.tokens.value)}, as none is given"
    return text


def _typed(planning: Planning, room: int, glyphs: Glyphs) -> Line:
    """What is being typed, its cursor, and what it is taken for."""
    editor = planning.editor
    assert editor is not None, "asked for only while typing"
    text, at = editor.text, editor.at
    start = max(0, at - room + 2)
    shown = text[start : start + room - 1]
    at -= start
    style = "selected.value" if editor.fresh else "value.big"
    spans = [(shown[:at], style), (shown[at : at + 1] or " ", "caret"), (shown[at + 1 :], style)]
    meant = planning.meant
    if meant.lower().startswith(text.lower()) and at >= len(shown):
        rest = meant[len(text) :]
        spans[1:] = [(rest[:1] or " ", "caret"), (rest[1:], "dim")]
    elif meant:
        spans.append((f" {glyphs.right} {meant}", "dim"))
    return tuple((each, name) for each, name in spans if each)


def _offered(planning: Planning, width: int, glyphs: Glyphs) -> list[Line]:
    """Names that match, around the one that is meant."""
    names, at = planning.offered, planning.picked
    first = max(0, min(at - OFFERED_ROWS // 2, len(names) - OFFERED_ROWS))
    rows: list[Line] = []
    for index, name in enumerate(names[first : first + OFFERED_ROWS], first):
        style = "tab.on" if index == at else "dim"
        mark = glyphs.right if index == at else " "
        text = cut_text(clean_line(name), width - 5, glyphs.ellipsis)
        rows.append(((f"   {mark} ", style), (text, style)))
    if len(names) > OFFERED_ROWS:
        rows[-1] = (*rows[-1], (f"  {at + 1} of {len(names)}", "dim"))
    return rows


def _error(planning: Planning, width: int) -> list[Line]:
    """What is wrong with the field above, and what would be right."""
    error = planning.error
    assert error is not None, "asked for only where there is one"
    rows: list[Line] = [((f"  {text}", "mark.guard"),) for text in fill(clean_line(error.message), width - 3)[:_ERROR_ROWS]]
    hint = fill(clean_line(error.hint), width - 3) if error.hint else []
    if len(hint) > _ERROR_ROWS:
        hint = [*hint[: _ERROR_ROWS - 1], hint[_ERROR_ROWS - 1][: width - 6] + " .."]
    return rows + [((f"  {text}", "dim"),) for text in hint]
