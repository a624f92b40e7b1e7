"""The bottom line: keys that work here. A click does what the key does."""

from __future__ import annotations

from collections.abc import Mapping

from textual import events

from tuitrain.tui.actions import BY_ID, footer_keys
from tuitrain.tui.render.footer import footer
from tuitrain.tui.widgets.lines import Lines


class FooterBar(Lines):
    """Keys of one screen."""

    DEFAULT_CSS = """
    FooterBar { dock: bottom; height: 1; width: 100%; }
    """

    def __init__(self, where: str, *, ascii_only: bool) -> None:
        super().__init__("footer", ascii_only=ascii_only)
        self._where = where
        self._places: dict[str, tuple[int, int]] = {}

    def show_keys(self, labels: Mapping[str, str] | None = None, hidden: frozenset[str] = frozenset()) -> None:
        """Show the screen's keys, some of them under another name or not at all."""
        line, self._places = footer(footer_keys(self._where, labels, hidden), self.size.width)
        self.show([line])

    async def on_click(self, event: events.Click) -> None:
        """Do what the key under the mouse does."""
        for action, (start, end) in self._places.items():
            if start <= event.x < end:
                await self.screen.run_action(BY_ID[action].call)
                return
