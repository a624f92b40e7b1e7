"""The list of runs. The selection stays on its run, wherever the run moves to."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.runs_table import head_line, run_line
from tuitrain.tui.render.spans import Line
from tuitrain.tui.render.summary import RunSummary
from tuitrain.tui.widgets.lines import Lines


class RunTable(Lines):
    """One run, one line."""

    DEFAULT_CSS = """
    RunTable { height: 1fr; }
    """

    class Opened(Message):
        """A run was clicked while it was selected."""

        def __init__(self, run_id: str) -> None:
            super().__init__()
            self.run_id = run_id

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("runs", ascii_only=glyphs.ascii_only)
        self._glyphs = glyphs
        self.runs: Sequence[RunSummary] = ()
        self.selected_id: str | None = None
        self._now_s = 0.0
        self._offset = 0

    @property
    def selected(self) -> RunSummary | None:
        """The run under the cursor."""
        return self.runs[self._index()] if self.runs else None

    def fill(self, runs: Sequence[RunSummary], now_s: float) -> None:
        """Show these runs; ages are told from `now_s`."""
        self.runs, self._now_s = runs, now_s
        if runs and self.selected_id not in {run.run_id for run in runs}:
            self.selected_id = runs[0].run_id
        self.draw()

    def move(self, by: int) -> None:
        """Move the cursor; it stops at the ends."""
        if self.runs:
            index = min(len(self.runs) - 1, max(0, self._index() + by))
            self.selected_id = self.runs[index].run_id
            self.draw()

    def draw(self) -> None:
        """Render the rows in sight."""
        width, height = self.size
        if not width or not height:
            return
        page, at = max(1, height - 1), self._index()
        self._offset = min(max(0, len(self.runs) - page), max(at - page + 1, min(self._offset, at)))
        shown = self.runs[self._offset : self._offset + page]
        rows: list[Line] = [head_line(width)]
        rows += [run_line(run, width, self._now_s, self._glyphs, selected=run.run_id == self.selected_id) for run in shown]
        self.show(rows)

    def _index(self) -> int:
        return next((index for index, run in enumerate(self.runs) if run.run_id == self.selected_id), 0)

    def on_click(self, event: events.Click) -> None:
        """Select; open when it was selected already."""
        index = self._offset + event.y - 1
        if event.y >= 1 and index < len(self.runs):
            run_id = self.runs[index].run_id
            if run_id == self.selected_id:
                self.post_message(self.Opened(run_id))
            self.move(index - self._index())
