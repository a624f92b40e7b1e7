"""The plan on the screen: lines that know which number was clicked."""

from __future__ import annotations

from textual import events
from textual.message import Message

from tuitrain.tui.render.marked import Marked
from tuitrain.tui.widgets.lines import Lines


class PlanPage(Lines):
    """Shows a page of figures."""

    class Pointed(Message):
        """A figure was clicked."""

        def __init__(self, figure: str) -> None:
            super().__init__()
            self.figure = figure

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__("plan-page", ascii_only=ascii_only)
        self.page = Marked()

    def fill(self, page: Marked) -> None:
        """Show this page from now on."""
        self.page = page
        self.show(page.lines)

    def on_click(self, event: events.Click) -> None:
        """Say which figure was meant."""
        if figure := self.page.figure_at(event.y, event.x):
            self.post_message(self.Pointed(figure))
