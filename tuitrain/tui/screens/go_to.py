"""Ask for a number, or for a text to look for."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input

from tuitrain.tui.render.dialog import dialog, dialog_width, paragraphs
from tuitrain.tui.render.format import count
from tuitrain.tui.screens.base import TuiModal
from tuitrain.tui.widgets.lines import Lines


class GoToScreen(TuiModal[str | None]):
    """The result is what was typed; None when it was left."""

    BINDINGS = [Binding("escape", "leave", "Leave")]  # noqa: RUF012 - Textual's own way

    def __init__(self, what: str, total: int, *, text: bool) -> None:
        super().__init__()
        self._what, self._total, self._text = what, total, text
        self._wrong = ""

    def compose(self) -> ComposeResult:
        """The question and a line to type in."""
        with Vertical(id="typed"):
            yield Lines("dialog", ascii_only=self.glyphs.ascii_only)
            yield Input(id="wanted", placeholder="a number, or text" if self._text else "a number", select_on_focus=False)

    def on_mount(self) -> None:
        """Typing starts at once."""
        super().on_mount()
        self.query_one(Input).focus()

    def paint(self) -> None:
        """Show what may be typed."""
        if not self.on_stage:
            return
        width = dialog_width(self.size.width)
        self.query_one("#typed").styles.width = width
        text = f"A number from 1 to {count(self._total)}" + (
            ", or text: the next example that has it in its place or its turns is shown." if self._text else "."
        )
        body = [*paragraphs(text, width), (("enter goes there, esc leaves", "dim"),)]
        if self._wrong:
            body.append(((self._wrong, "bad"),))
        self.query_one("#dialog", Lines).show(dialog(f"Find the {self._what}", body, (), 0, width, self.glyphs))

    @on(Input.Submitted)
    def decide(self, event: Input.Submitted) -> None:
        """Only what can be found."""
        wanted = event.value.strip()
        if wanted.isdecimal():
            if 1 <= int(wanted) <= self._total:
                self.dismiss(wanted)
                return
            self._wrong = f"there are {count(self._total)}"
        elif self._text or not wanted:
            self.dismiss(wanted or None)
            return
        else:
            self._wrong = f"a {self._what} is found by its number"
        self.paint()

    def action_leave(self) -> None:
        """Stay where we are."""
        self.dismiss(None)
