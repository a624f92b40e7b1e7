"""How a planned number comes about: the planner's own tree of formula, values and source."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult

from tuitrain.text import clean
from tuitrain.tui.actions import PLAN_EXPLAIN, bindings
from tuitrain.tui.render.glyphs import to_ascii
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.spans import BLANK, Line
from tuitrain.tui.screens.base import TuiModal
from tuitrain.tui.screens.pager_keys import PagerKeys
from tuitrain.tui.widgets.pager import Pager
from tuitrain_planners import Quantity, format_value

_MOST_CELLS = 110


class PlanExplainScreen(PagerKeys, TuiModal[None]):
    """One number at a time."""

    WHERE = PLAN_EXPLAIN
    BINDINGS = bindings(PLAN_EXPLAIN)

    def __init__(self, figures: Mapping[str, Quantity], start: str) -> None:
        super().__init__()
        self._figures = figures
        self.names = list(figures)
        self.index = self.names.index(start) if start in figures else 0

    def compose(self) -> ComposeResult:
        """A pager."""
        yield Pager("explain", self.glyphs)

    def paint(self) -> None:
        """Explain the number looked at."""
        if not self.on_stage:
            return
        width = max(20, min(_MOST_CELLS, self.size.width - 2))
        name = self.names[self.index]
        rows = explain_rows(self._figures[name], width - 4)
        self.pager.styles.width = width
        self.pager.styles.height = min(len(rows) + 2, max(5, self.size.height - 2))
        place = f"{self.index + 1} of {len(self.names)}, left/right another, esc back"
        self.pager.fill(rows, ((f"Explain: {name}", "title"),), place)

    def _turn(self, by: int) -> None:
        self.index = (self.index + by) % len(self.names)
        self.pager.move(lambda _: 0)
        self.paint()

    def action_figure_next(self) -> None:
        """The next number."""
        self._turn(1)

    def action_figure_previous(self) -> None:
        """The number before."""
        self._turn(-1)

    def action_back(self) -> None:
        """Close."""
        self.dismiss()

    async def action_home(self) -> None:
        """Back to the list of runs."""
        await self.tui.go_home()

    def action_help(self) -> None:
        """All keys of this panel."""
        from tuitrain.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(PLAN_EXPLAIN))


def explain_rows(quantity: Quantity, width: int) -> list[Line]:
    """The value, then the tree as `tuitrain plan --explain` prints it, folded to the width."""
    rows: list[Line] = [((format_value(quantity.value, quantity.unit), "value.big"), (f"  {quantity.name}", "label")), BLANK]
    for line in clean(quantity.explain()).split("\n"):
        indent = len(line) - len(line.lstrip(" |`-"))
        parts = fill(to_ascii(line[indent:]) if line.isascii() else line[indent:], max(12, width - indent))
        for index, part in enumerate(parts):
            lead = line[:indent] if index == 0 else line[:indent].replace("`-", "  ").replace("|-", "| ") + "  "
            style = "dim" if part.startswith("from:") else "value" if part.startswith("=") else "text"
            rows.append(((f" {lead}", "frame"), (part, style)))
    return rows
