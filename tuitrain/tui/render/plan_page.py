"""Everything the Plan screen shows beside the form, for any size: all panes where there is room, else one at a time."""

from __future__ import annotations

from typing import Final, Literal

from tuitrain.runs.fixes import Fix, NoFix
from tuitrain.text import clean_line
from tuitrain.tui.plan.state import Planning
from tuitrain.tui.render.format import size
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.marked import Marked, Part, framed
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.plan_chart import chart_note, legend, plan_chart
from tuitrain.tui.render.plan_memory import memory_block, verdict_line
from tuitrain.tui.render.plan_numbers import MORE_ROWS, NUMBER_ROWS, numbers_block
from tuitrain.tui.render.plan_table import TABLE_ROWS, table_block
from tuitrain.tui.render.spans import Line, beside, fit, line_width, spread
from tuitrain_planners import Plan

View = Literal["all", "numbers", "table", "chart"]
VIEWS: Final[tuple[View, ...]] = ("all", "numbers", "table", "chart")
_CHART_ROWS: Final = 9
_GOOD_CHART_ROWS: Final = 14
"""From which on further numbers are worth more than a higher chart."""
_SIDE_BY_SIDE: Final = 104
_FRAME: Final = 2
_MEMORY_ROWS, _LOWER_ROWS = 9, 8
"""Of the memory pane, about, and the least the one below it is worth showing with."""


def all_fit(width: int, height: int) -> bool:
    """Whether every pane has room at once."""
    memory, numbers, table = _MEMORY_ROWS, NUMBER_ROWS + _FRAME, TABLE_ROWS + _FRAME
    rows = memory + numbers + _CHART_ROWS + (0 if width >= _SIDE_BY_SIDE else table)
    return width >= 46 and height >= rows


def is_short(height: int) -> bool:
    """Whether there is no room for another pane below the memory."""
    return height < _MEMORY_ROWS + _LOWER_ROWS


def plan_page(planning: Planning, view: View, width: int, height: int, glyphs: Glyphs) -> Marked:
    """`height` lines of `width` cells, and where which figure stands."""
    plan = planning.planned
    if plan is None:
        said = planning.error.message if planning.error else "nothing planned yet"
        return Marked([fit(((f" {clean_line(said)}", "dim"),), width)])
    page = Marked()
    if view != "all" and is_short(height):
        page = verdict_line(plan.memory, width, glyphs)
        page.lines = [fit(row, width) for row in page.lines]
        page.below(_pane(view, planning, plan, width, max(2, height - 1), glyphs, tabs=True))
        page.lines = page.lines[:height]
        return page.dimmed() if planning.stale else page
    memory = memory_block(plan.memory, width - 2, glyphs)
    memory.lines += _advice(planning, width - 2)
    stage, stages = plan.memory.step.stage, plan.request.mesh.pp
    which = "" if stages == 1 else f", {stage} of {stages} stages"
    note = f"at its peak, phase {plan.memory.step.peak_phase.name.replace('_', ' ')}{which}"
    page.below(framed(memory, width, min(height, len(memory.lines) + _FRAME), glyphs, "memory per device", note))
    rest = height - len(page.lines)
    if view == "all" and all_fit(width, height):
        _everything(page, planning, plan, width, rest, glyphs)
    elif rest >= _FRAME + 3 and not is_short(height):
        shown: View = "numbers" if view == "all" else view
        table = TABLE_ROWS + _FRAME
        below = table if shown == "numbers" and rest >= NUMBER_ROWS + _FRAME + table else 0
        page.below(_pane(shown, planning, plan, width, rest - below, glyphs, tabs=not below))
        if below:
            page.below(_pane("table", planning, plan, width, below, glyphs, tabs=True))
    page.lines = page.lines[:height]
    return page.dimmed() if planning.stale else page


def _everything(page: Marked, planning: Planning, plan: Plan, width: int, rest: int, glyphs: Glyphs) -> None:
    numbers, table = NUMBER_ROWS + _FRAME, TABLE_ROWS + _FRAME
    beside_it = width >= _SIDE_BY_SIDE
    numbers += max(0, min(MORE_ROWS, rest - numbers - (0 if beside_it else table) - _GOOD_CHART_ROWS))
    if beside_it:
        table_width = min(60, width // 2)
        left = _pane("numbers", planning, plan, width - table_width, numbers, glyphs)
        right = _pane("table", planning, plan, table_width, numbers, glyphs)
        top = len(page.lines)
        page.place(left, top, 0)
        page.place(right, top, width - table_width)
        page.lines += beside([(left.lines, width - table_width), (right.lines, table_width)], numbers)
        page.below(_pane("chart", planning, plan, width, rest - numbers, glyphs))
        return
    page.below(_pane("numbers", planning, plan, width, numbers, glyphs))
    page.below(_pane("table", planning, plan, width, table, glyphs))
    page.below(_pane("chart", planning, plan, width, rest - numbers - table, glyphs))


def _pane(view: View, planning: Planning, plan: Plan, width: int, height: int, glyphs: Glyphs, *, tabs: bool = False) -> Marked:
    """One framed pane."""
    inner, rows = width - 2, height - _FRAME
    foot = "tab: numbers, table, chart" if tabs else ""
    if view == "numbers":
        return framed(numbers_block(plan, inner, rows, glyphs), width, height, glyphs, "plan", "", foot)
    if view == "table":
        devices = plan.request.mesh.devices
        words = f"GiB per device of {devices}" if devices > 1 else "GiB; one device has nothing to shard"
        block = table_block(plan, planning.grid, inner)
        if rows > TABLE_ROWS + 1:
            block.lines += [(), (("a click takes a layout; [this plan]", "dim"),)]
        block = block if planning.settled else block.dimmed()
        return framed(block, width, height, glyphs, f"ZeRO x precision, {words}", "", foot)
    if not plan.is_pretraining:
        said = fill("Scaling laws are about training all weights on fresh text; they say nothing about fine-tuning.", inner)
        return framed(Marked([((text, "dim"),) for text in said]), width, height, glyphs, "loss by compute", "", foot)
    block = Marked(plan_chart(plan, inner, rows, glyphs))
    note = chart_note(plan)
    note = note if len(note) + 26 <= width else ""
    below = legend(plan, glyphs) if not tabs else foot
    return framed(block, width, height, glyphs, "loss by compute", note, below)


def _advice(planning: Planning, width: int) -> list[Line]:
    """The cheapest fix, before it is asked for: what it changes, saves and costs; or what is left. One line at least."""
    fix = planning.fix
    if isinstance(fix, Fix):
        rows = fill(fix.words, width - 4)
        return [
            ((" f ", "footer.job") if index == 0 else ("   ", "text"), (f" {text}", "alert")) for index, text in enumerate(rows)
        ]
    if isinstance(fix, NoFix):
        return [((text, "bad"),) for text in fill(fix.reason, width)]
    if planning.planned is not None and planning.planned.memory.verdict == "fits":
        memory = planning.planned.memory
        free = memory.capacity_bytes - memory.device_bytes.mid.value
        return [((f"{size(free)} to spare", "good"),)]
    return [()]


def title_line(planning: Planning, width: int, glyphs: Glyphs, said: str = "") -> Line:
    """What is planned, and on what; beside an error, that this is the last plan that could be made; what a job is doing."""
    plan = planning.planned
    name: Line = (("tuitrain ", "title"), (f"{glyphs.separator} plan", "dim"))
    if plan is None:
        return fit(name, width)
    hardware = plan.request.hardware
    devices = plan.request.mesh.devices
    where = clean_line(hardware.title or hardware.name)
    what = f"{clean_line(plan.request.shape.name)} on {f'{devices} x ' if devices > 1 else ''}{where}"
    left: Line = (*name, (f" {glyphs.separator} ", "dim"), (what, "label"))
    words = f"{clean_line(said)} " if said else "not this form: the last plan that could be made " if planning.stale else ""
    if not words:
        return fit(left, width)
    right: Line = ((words, "alert"),)
    return spread(left if line_width(left) + line_width(right) < width else name, right, width)


__all__ = ["VIEWS", "Part", "View", "all_fit", "is_short", "plan_page", "title_line"]
