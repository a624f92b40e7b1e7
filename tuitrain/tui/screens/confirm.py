"""Dialogs that ask: choices with their consequences, and the one that wants a name typed before anything is deleted."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input

from tuitrain.tui.render.dialog import Choice, dialog, dialog_width, paragraphs
from tuitrain.tui.screens.base import TuiModal
from tuitrain.tui.widgets.lines import Lines


class ConfirmScreen(TuiModal[str | None]):
    """Ask; the result is the id of the choice, None when it was left."""

    BINDINGS = [  # noqa: RUF012 - Textual's own way
        Binding("up,k,shift+tab", "turn(-1)", "Up"),
        Binding("down,j,tab", "turn(1)", "Down"),
        Binding("enter,space", "choose", "Choose"),
        Binding("escape,q", "leave", "Leave"),
    ]

    def __init__(self, title: str, body: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title, self._body, self._choices = title, body, choices
        self.selected = 0

    def compose(self) -> ComposeResult:
        """One box of lines."""
        yield Lines("dialog", ascii_only=self.glyphs.ascii_only)

    def paint(self) -> None:
        """Show body and choices."""
        if not self.on_stage:
            return
        width = dialog_width(self.size.width)
        box = self.query_one("#dialog", Lines)
        box.styles.width = width
        box.show(dialog(self._title, paragraphs(self._body, width), self._choices, self.selected, width, self.glyphs))

    def action_turn(self, by: int) -> None:
        """Another choice."""
        self.selected = (self.selected + by) % len(self._choices)
        self.paint()

    def action_choose(self) -> None:
        """Take the selected choice."""
        self.dismiss(self._choices[self.selected].id)

    def action_leave(self) -> None:
        """Take none."""
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        """Select the choice under the mouse; a second click takes it."""
        box = self.query_one("#dialog", Lines)
        if event.widget is not box:
            return
        line = box.text.splitlines()[event.y] if event.y < len(box.text.splitlines()) else ""
        for index, choice in enumerate(self._choices):
            if line[4:].strip(f" {self.glyphs.down}") == choice.label:
                if index == self.selected:
                    self.dismiss(choice.id)
                else:
                    self.selected = index
                    self.paint()


class TypedConfirmScreen(TuiModal[bool]):
    """Ask for a name to be typed: what follows cannot be undone."""

    BINDINGS = [Binding("escape", "leave", "Leave")]  # noqa: RUF012 - Textual's own way

    def __init__(self, title: str, body: str, expected: str) -> None:
        super().__init__()
        self._title, self._body, self._expected = title, body, expected
        self._wrong = False

    def compose(self) -> ComposeResult:
        """The question and a line to type in."""
        with Vertical(id="typed"):
            yield Lines("dialog", ascii_only=self.glyphs.ascii_only)
            yield Input(id="name", placeholder="the run's name", select_on_focus=False)

    def on_mount(self) -> None:
        """Typing starts at once."""
        super().on_mount()
        self.query_one(Input).focus()

    def paint(self) -> None:
        """Show the question."""
        if not self.on_stage:
            return
        width = dialog_width(self.size.width)
        self.query_one("#typed").styles.width = width
        body = paragraphs(self._body, width)
        if self._wrong:
            body = [*body, (("that is not its name; nothing was deleted", "bad"),)]
        self.query_one("#dialog", Lines).show(dialog(self._title, body, (), 0, width, self.glyphs, style="mark.guard"))

    @on(Input.Submitted)
    def decide(self, event: Input.Submitted) -> None:
        """Only the exact name counts."""
        if event.value.strip() == self._expected:
            self.dismiss(True)
            return
        self._wrong = True
        self.paint()

    def action_leave(self) -> None:
        """Leave everything as it is."""
        self.dismiss(False)
