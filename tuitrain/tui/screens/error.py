"""What went wrong, and what to do about it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding

from tuitrain.tui.render.dialog import dialog, dialog_width, paragraphs
from tuitrain.tui.screens.base import TuiModal
from tuitrain.tui.widgets.lines import Lines


class ErrorScreen(TuiModal[None]):
    """An error with its hint."""

    BINDINGS = [Binding("escape,enter,space,q", "leave", "Close")]  # noqa: RUF012 - Textual's own way

    def __init__(self, message: str, hint: str) -> None:
        super().__init__()
        self._message, self._hint = message, hint

    def compose(self) -> ComposeResult:
        """One box of lines."""
        yield Lines("dialog", ascii_only=self.glyphs.ascii_only)

    def paint(self) -> None:
        """Show error and hint."""
        if not self.on_stage:
            return
        width = dialog_width(self.size.width)
        body = [
            (("error: ", "mark.guard"), *first) if index == 0 else first
            for index, first in enumerate(paragraphs(self._message, width - 7))
        ]
        if self._hint:
            body += [
                (),
                *(
                    (("hint: ", "label"), *each) if index == 0 else each
                    for index, each in enumerate(paragraphs(self._hint, width - 6))
                ),
            ]
        body += [(), (("esc closes", "dim"),)]
        box = self.query_one("#dialog", Lines)
        box.styles.width = width
        box.show(dialog("That did not work", body, (), 0, width, self.glyphs, style="mark.guard"))

    def action_leave(self) -> None:
        """Close."""
        self.dismiss()
