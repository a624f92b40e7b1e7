"""A framed text longer than its place: moved line by line, or following its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events

from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.spans import Line, frame
from tuitrain.tui.widgets.lines import Lines


class Pager(Lines):
    """Shows a window of lines. What it shows is given by `fill`; where, it keeps itself."""

    DEFAULT_CSS = """
    Pager { height: 1fr; }
    """

    def __init__(self, pane_id: str, glyphs: Glyphs, *, follow: bool = False) -> None:
        super().__init__(pane_id, ascii_only=glyphs.ascii_only)
        self._glyphs = glyphs
        self.follow = follow
        self._can_follow = follow
        self._offset = 0
        self._rows: Sequence[Line] = ()
        self._title: Line = ()
        self._note = ""

    @property
    def inner_width(self) -> int:
        """Cells within the frame."""
        return max(2, self.size.width - 2)

    @property
    def page(self) -> int:
        """Lines shown at a time."""
        return max(1, self.size.height - 2)

    def fill(self, rows: Sequence[Line], title: Line, note: str = "") -> None:
        """Show these lines from now on."""
        self._rows, self._title, self._note = rows, title, note
        self._draw()

    def move(self, change: Callable[[int], int]) -> None:
        """Go where `change` says, from the first line shown now."""
        last = max(0, len(self._rows) - self.page)
        self._offset = min(last, max(0, change(self._offset)))
        self.follow = self._can_follow and self._offset >= last
        self._draw()

    def to_end(self) -> None:
        """The last page, and follow from there."""
        self.move(lambda _: len(self._rows))

    def _draw(self) -> None:
        if self.size.area == 0:
            return
        last = max(0, len(self._rows) - self.page)
        self._offset = last if self.follow else min(self._offset, last)
        shown = self._rows[self._offset : self._offset + self.page]
        total = len(self._rows)
        place = f"{self._offset + 1}-{self._offset + len(shown)} of {total}" if total > self.page else ""
        state = ("following" if self.follow else "held, G follows") if self._can_follow else ""
        note = "  ".join(filter(None, (self._note, place, state)))
        right: Line = ((note, "dim"),) if note else ()
        self.show(frame(shown, self.size.width, self.size.height, self._glyphs, title=self._title, right=right))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three lines up."""
        event.stop()
        self.move(lambda offset: offset - 3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three lines down."""
        event.stop()
        self.move(lambda offset: offset + 3)
