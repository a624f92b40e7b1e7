"""The words around the list of runs, and what stands there while there is none."""

from __future__ import annotations

from tuitrain.text import clean_line
from tuitrain.tui.render.chart import chart_pane
from tuitrain.tui.render.format import count, number, si
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.metrics import BY_KEY
from tuitrain.tui.render.options import ChartOptions
from tuitrain.tui.render.spans import BLANK, Line, cut_text, fit, frame, join
from tuitrain.tui.render.summary import RunSummary
from tuitrain.tui.render.tiles import tiles_row
from tuitrain.tui.render.view import RunView

DEMO_WORDS = "Watch a 3-minute demo training"
DEMO_DETAIL = "the Python standard library as corpus, no download"
PLAN_WORDS = "Plan a training"
PLAN_DETAIL = "memory, time, money of any model on any hardware, before it starts"
COMMANDS = (
    ("tuitrain plan", "what could I train here, and how long?"),
    ("tuitrain train CONFIG.toml", "train on my own data"),
)


def title_line(machine: str, width: int, glyphs: Glyphs) -> Line:
    """The program and, truthfully, the machine."""
    seen = clean_line(machine) or "looking at this machine"
    name = "tuitrain "
    return fit(
        ((name, "title"), (f"{glyphs.separator} ", "dim"), (cut_text(seen, width - len(name) - 2, glyphs.ellipsis), "label")),
        width,
    )


def empty_lines(width: int, glyphs: Glyphs, said: str = "") -> list[Line]:
    """The big choice and two commands to type. `said` is how far the demo is, once it was chosen."""
    cells = min(78, width)
    choice: list[Line] = [
        BLANK,
        (("   enter  ", "footer.job"), (" ", "text"), (DEMO_WORDS, "value.big")),
        ((" " * 11 + (clean_line(said, cells - 14) or DEMO_DETAIL), "alert" if said else "dim"),),
        BLANK,
        (("   p      ", "footer.job"), (" ", "text"), (PLAN_WORDS, "value.big")),
        ((" " * 11 + PLAN_DETAIL, "dim"),),
        BLANK,
    ]
    rows: list[Line] = [(("No runs yet.", "title"),), BLANK]
    rows += frame(choice, cells, len(choice) + 2, glyphs, style="frame.active")
    rows += [BLANK, (("or type, at the command line:", "label"),), BLANK]
    command_cells = max(len(command) for command, _ in COMMANDS) + 3
    for command, purpose in COMMANDS:
        rows.append((("   ", "text"), (f"{command:<{command_cells}}", "tab.on"), (purpose, "dim")))
    return [fit(row, width) for row in rows]


def preview_lines(view: RunView, run: RunSummary, width: int, height: int) -> list[Line]:
    """The selected run at a glance: how it stands, its tiles, its loss curve. A blank line above sets it apart."""
    facts, between = _facts(view), f" {view.glyphs.separator} "
    while len(facts) > 1 and len(between.join(facts)) > width:
        facts.pop()
    rows: list[Line] = [BLANK, fit(join([((each, "dim"),) for each in facts], ((between, "frame"),)), width)]
    if run.badge.detail:
        rows.append(
            ((cut_text(run.badge.detail, width, view.glyphs.ellipsis), "bad" if run.badge.glyph == "failed" else "dim"),)
        )
    rows += tiles_row(view, width)
    return rows + chart_pane(view, BY_KEY["loss"], ChartOptions(), width, height - len(rows))


def _facts(view: RunView) -> list[str]:
    """What was trained, on what, how far."""
    start = view.state.start
    facts: list[str] = []
    if start is None:
        return facts
    if (parameters := start.number("parameters")) > 0:
        facts.append(f"{si(parameters)} parameters")
    facts += [clean_line(str(start.data[key]), 32) for key in ("device", "precision") if start.data.get(key)]
    total, done = start.number("total_tokens"), view.state.steps.last("tokens_total")
    if total > 0 and done > 0:
        facts.append(f"{si(done)} of {si(total)} tokens")
    best = view.state.best_eval
    if best is not None:
        facts.append(f"best eval {number(best[1])} at step {count(best[0])}")
    return facts


def hint_lines(width: int) -> list[Line]:
    """A line below the list."""
    return [fit((("runs go on when you leave; lower case looks, UPPER CASE touches the job", "dim"),), width)]
