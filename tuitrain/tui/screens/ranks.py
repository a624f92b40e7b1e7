"""The processes of a run side by side, one of them selected: what is known of it, and its log a key away."""

from __future__ import annotations

from textual.app import ComposeResult

from tuitrain.runs.store import rank_log
from tuitrain.tui.actions import RANKS, bindings
from tuitrain.tui.bridge import RunTail
from tuitrain.tui.render.ranks import detail_lines, rank_rows, skew_words, table_lines
from tuitrain.tui.render.spans import Line
from tuitrain.tui.screens.pagers import LogScreen, PagerScreen
from tuitrain.tui.widgets.footer_bar import FooterBar
from tuitrain.tui.widgets.lines import Lines
from tuitrain.tui.widgets.pager import Pager

_HEAD_ROWS = 1


class RanksScreen(PagerScreen):
    """A table of the ranks, and the selected one in detail."""

    WHERE = RANKS
    BINDINGS = bindings(RANKS)

    def __init__(self, tail: RunTail) -> None:
        super().__init__(tail)
        self.index = 0
        """The selected rank."""

    def compose(self) -> ComposeResult:
        """The table, the selected rank, the keys."""
        ascii_only = self.glyphs.ascii_only
        yield Pager("pager", self.glyphs)
        yield Lines("rank", ascii_only=ascii_only)
        yield FooterBar(self.WHERE, ascii_only=ascii_only)

    def version(self) -> object:
        """Changes with the run and with the rank selected."""
        return self.tail.feed.version, self.index

    def fill(self) -> None:
        """All ranks, and the selected one."""
        view = self.view()
        ranks, rows = view.state.present_ranks, rank_rows(view)
        if not rows:
            return
        self.index = min(self.index, len(rows) - 1)
        mark: Line = ((self.glyphs.cursor_row + " ", "cursor.row"),)
        blank: Line = (("  ", "text"),)
        lines = table_lines(rows, self.pager.inner_width - 2)
        shown = [
            (*mark, *((text, f"selected.{style}") for text, style in line))
            if row == self.index + _HEAD_ROWS
            else (*blank, *line)
            for row, line in enumerate(lines)
        ]
        words = skew_words(view.state, view.state.skew)
        self.pager.fill(shown, (("ranks", "title"), (f"  {words}", "dim")))
        selected = self.index + _HEAD_ROWS
        self.pager.move(lambda offset: min(max(offset, selected - self.pager.page + 1), selected - _HEAD_ROWS))
        folder = self.tail.run_folder.path
        log = rank_log(folder, ranks[self.index].rank).relative_to(folder)
        self.query_one("#rank", Lines).show(detail_lines(view, ranks[self.index], str(log), self.size.width))

    def _select(self, index: int) -> None:
        with self.tail.feed.lock:
            last = len(self.tail.feed.state.present_ranks) - 1
        self.index = min(max(0, index), max(0, last))
        self.paint()

    def action_rank_up(self) -> None:
        """The rank above."""
        self._select(self.index - 1)

    def action_rank_down(self) -> None:
        """The rank below."""
        self._select(self.index + 1)

    def action_rank_first(self) -> None:
        """The first rank."""
        self._select(0)

    def action_rank_last(self) -> None:
        """The last rank."""
        self._select(len(self.tail.feed.state.present_ranks) - 1)

    def action_rank_log(self) -> None:
        """The log of the selected rank."""
        with self.tail.feed.lock:
            ranks = self.tail.feed.state.present_ranks
        if ranks:
            self.app.push_screen(LogScreen(self.tail, ranks[min(self.index, len(ranks) - 1)].rank))
