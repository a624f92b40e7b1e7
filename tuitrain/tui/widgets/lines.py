"""The one way lines of spans reach the terminal: kept as strips, and only rows that changed are painted again."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tuitrain.tui.render.glyphs import to_ascii
from tuitrain.tui.render.spans import Line
from tuitrain.tui.theme import Palette, palette_of, style


def strip(spans: Line, palette: Palette, *, ascii_only: bool) -> Strip:
    """One line for Textual. Spans are data: no markup is read from them."""
    return Strip([Segment(to_ascii(text) if ascii_only else text, style(name, palette)) for text, name in spans if text])


class Lines(Widget):
    """Shows lines. `show` replaces them; rows that stay the same are not painted again."""

    DEFAULT_CSS = """
    Lines { width: 1fr; height: auto; }
    """

    class Resized(Message):
        """A pane has another size: its screen renders again."""

        def can_replace(self, message: Message) -> bool:
            """One in the queue is enough."""
            return isinstance(message, Lines.Resized)

    def __init__(self, pane_id: str, *, ascii_only: bool) -> None:
        super().__init__(id=pane_id)
        self.ascii_only = ascii_only
        self._lines: Sequence[Line] = ()
        self._strips: list[Strip] = []
        self._palette: Palette = "dark"

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines from now on."""
        palette = palette_of(self.app.current_theme)
        old, same_colours = self._lines, palette == self._palette
        self._lines, self._palette = lines, palette
        if len(old) != len(lines) or not same_colours:
            self._strips = [strip(each, palette, ascii_only=self.ascii_only) for each in lines]
            grown = len(old) != len(lines) and self.styles.is_auto_height
            self.refresh(layout=grown)
            if grown:  # asked for in the middle of a layout, as the first paint of a run that stands still is, it would be lost
                self.call_after_refresh(self.refresh, layout=True)
            return
        changed = [row for row, (before, after) in enumerate(zip(old, lines, strict=True)) if before != after]
        for row in changed:
            self._strips[row] = strip(lines[row], palette, ascii_only=self.ascii_only)
        if changed:
            self.refresh(*(Region(0, row, self.size.width, 1) for row in changed))

    def on_resize(self, event: events.Resize) -> None:
        """Tell the screen."""
        self.post_message(self.Resized())

    def render_line(self, y: int) -> Strip:
        """One row, as last shown."""
        base = self.rich_style  # the theme's background, where a span has none of its own
        if y >= len(self._strips):
            return Strip.blank(self.size.width, base)
        return self._strips[y].apply_style(base).adjust_cell_length(self.size.width, base)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """As many rows as there are lines."""
        return len(self._lines)

    @property
    def text(self) -> str:
        """What is shown, for tests."""
        return "\n".join(each.text.rstrip() for each in self._strips)
