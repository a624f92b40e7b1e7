"""What the number on a tile means: measured how, planned by which formula."""

from __future__ import annotations

import threading
from collections.abc import Callable

from textual.app import ComposeResult

from tuitrain.tui.actions import EXPLAIN, bindings
from tuitrain.tui.render.dialog import dialog, dialog_width
from tuitrain.tui.render.explain import explain_lines
from tuitrain.tui.render.metrics import BY_KEY
from tuitrain.tui.render.spans import Line, join
from tuitrain.tui.render.tiles import tile_keys
from tuitrain.tui.render.view import RunView
from tuitrain.tui.screens.base import TuiModal
from tuitrain.tui.widgets.lines import Lines


class ExplainScreen(TuiModal[None]):
    """One tile at a time, live."""

    WHERE = EXPLAIN
    BINDINGS = bindings(EXPLAIN)

    def __init__(self, view: Callable[[], RunView], lock: threading.Lock) -> None:
        super().__init__()
        self._view, self._lock = view, lock
        self.index = 0

    def compose(self) -> ComposeResult:
        """One box of lines."""
        yield Lines("dialog", ascii_only=self.glyphs.ascii_only)

    def on_mount(self) -> None:
        """The numbers go on changing."""
        super().on_mount()
        self.set_interval(1.0, self.paint)

    def paint(self) -> None:
        """Explain the tile looked at."""
        if not self.on_stage:
            return
        width = dialog_width(self.size.width)
        with self._lock:
            view = self._view()
            keys = tile_keys(view)
            self.index %= len(keys)
            key = keys[self.index]
            body = explain_lines(view, key, width - 4)
        names: list[Line] = [
            ((f"[{BY_KEY[each].title}]" if each == key else BY_KEY[each].title, "tab.on" if each == key else "tab"),)
            for each in keys
        ]
        rows = [join(names, (("  ", "text"),)), (), *body, (), (("left/right another tile, esc back", "dim"),)]
        box = self.query_one("#dialog", Lines)
        box.styles.width = width
        box.show(dialog(f"Explain: {BY_KEY[key].title}", rows, (), 0, width, self.glyphs))

    def action_tile_next(self) -> None:
        """The tile after."""
        self.index += 1
        self.paint()

    def action_tile_previous(self) -> None:
        """The tile before."""
        self.index -= 1
        self.paint()

    def action_back(self) -> None:
        """Close."""
        self.dismiss()

    async def action_home(self) -> None:
        """Back to the list of runs."""
        await self.tui.go_home()

    def action_help(self) -> None:
        """All keys of this panel."""
        from tuitrain.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(EXPLAIN))
