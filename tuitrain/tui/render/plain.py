"""The dashboard and the list as text: the accessible path, for pipes, dumb terminals and screen readers.

dashboard(view, width=100, height=40)    the whole screen
step_line(state)                         one line per look, for a stream
summary(state)                           the closing lines: plan against actual
run_list(runs, width=100, now_s=...)     the list of runs
"""

from __future__ import annotations

from collections.abc import Sequence

from tuitrain.events import RunState
from tuitrain.tui.render.chart import chart_pane
from tuitrain.tui.render.glyphs import UNICODE, Glyphs
from tuitrain.tui.render.header import header_lines
from tuitrain.tui.render.metrics import BY_KEY
from tuitrain.tui.render.options import ChartOptions
from tuitrain.tui.render.panes import alert_line, log_pane, sample_pane
from tuitrain.tui.render.ranks import ranks_pane
from tuitrain.tui.render.runs_table import head_line, run_line
from tuitrain.tui.render.spans import Line, beside, plain
from tuitrain.tui.render.summary import RunSummary, closing_lines, stream_line
from tuitrain.tui.render.tiles import tiles_block, tiles_row
from tuitrain.tui.render.view import RunView

__all__ = ["dashboard", "dashboard_lines", "run_list", "step_line", "summary"]
PANE_RANKS = 4
WIDE_CELLS, TALL_CELLS = 100, 30
"""From this size on there is room for tiles in boxes and charts side by side."""


def dashboard(view: RunView, *, width: int = 100, height: int = 40, log: Sequence[str] = ()) -> str:
    """The whole dashboard as text of at most `height` lines."""
    return plain(dashboard_lines(view, width=width, height=height, log=log), view.glyphs)


def dashboard_lines(view: RunView, *, width: int, height: int, log: Sequence[str] = ()) -> list[Line]:
    """Header, tiles, charts, the newest alert, log and samples - as much of it as the height holds."""
    options, big = ChartOptions(), width >= WIDE_CELLS and height >= TALL_CELLS
    rows = header_lines(view, width)
    rows += tiles_block(view, width) if big else tiles_row(view, width)
    tail = ranks_pane(view, width, PANE_RANKS if big else 0)
    if alert := alert_line(view, width):
        tail.append(alert)
    below = 8 if big else (5 if log else 0)
    if big:
        half = width // 2
        tail += beside(
            [(log_pane(log, half, below, view.glyphs), half), (sample_pane(view, None, width - half, below), width - half)],
            below,
        )
    elif below:
        tail += log_pane(log, width, below, view.glyphs)
    room = height - len(rows) - len(tail)
    if room < 6:
        return rows[:height]
    if not big:
        return [*rows, *chart_pane(view, BY_KEY["loss"], options, width, room, active=True), *tail]
    main, upper = width * 3 // 5, room // 2
    side = width - main
    side_rows = chart_pane(view, BY_KEY["grad"], options, side, upper) + chart_pane(
        view, BY_KEY["speed"], options, side, room - upper
    )
    rows += beside([(chart_pane(view, BY_KEY["loss"], options, main, room, active=True), main), (side_rows, side)], room)
    return rows + tail


def step_line(state: RunState) -> str:
    """Where a run stands, in one line."""
    return stream_line(_view(state))


def summary(state: RunState) -> str:
    """How a run ended, and plan against actual: time, tokens per second, loss, bits per byte, memory."""
    return closing_lines(_view(state))


def _view(state: RunState) -> RunView:
    return RunView(run_id="", state=state, now_s=state.last_t_ns / 1e9)


def run_list(runs: Sequence[RunSummary], *, width: int = 100, now_s: float, glyphs: Glyphs = UNICODE) -> str:
    """All runs, one a line."""
    return plain([head_line(width), *(run_line(run, width, now_s, glyphs) for run in runs)], glyphs)
