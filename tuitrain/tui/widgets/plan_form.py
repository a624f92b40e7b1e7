"""The form on the screen: keys while something is typed, the mouse always. What happens then is the screen's business."""

from __future__ import annotations

from textual import events
from textual.message import Message

from tuitrain.tui.plan.state import Planning
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.plan_form import LABEL_CELLS, form_lines
from tuitrain.tui.widgets.lines import Lines


class PlanForm(Lines, can_focus=True):
    """Has the focus exactly while a field is typed into: then every key is text, otherwise every key is an action."""

    class Edited(Message):
        """The form, or the text being typed, changed."""

    class Clicked(Message):
        """A field was clicked; `on_value`: on what stands in it."""

        def __init__(self, row: int, *, on_value: bool) -> None:
            super().__init__()
            self.row, self.on_value = row, on_value

    def __init__(self, planning: Planning, glyphs: Glyphs) -> None:
        super().__init__("plan-form", ascii_only=glyphs.ascii_only)
        self._planning, self._glyphs = planning, glyphs
        self._owners: list[int] = []

    def paint(self) -> None:
        """Show the form as it stands."""
        if self.size.area:
            lines, self._owners = form_lines(self._planning, self.size.width, self.size.height, self._glyphs)
            self.show(lines)

    def on_key(self, event: events.Key) -> None:
        """While typing, keys are text; what is neither text nor editing goes on to the screen's actions."""
        planning = self._planning
        if planning.editor is None:
            return
        if event.key == "escape":
            planning.cancel()
        elif event.key in ("enter", "tab", "shift+tab"):
            if planning.accept() and event.key != "enter":
                planning.move(1 if event.key == "tab" else -1)
        elif event.key in ("up", "down") and planning.current.kind != "name":
            if planning.accept():
                planning.move(1 if event.key == "down" else -1)
        elif planning.edit_key(event.key):
            pass
        elif event.is_printable and event.character is not None:
            planning.type(event.character)
        elif event.key in ("f1", "ctrl+p", "ctrl+q", "ctrl+c"):
            return
        event.stop()
        event.prevent_default()
        self.post_message(self.Edited())

    def on_paste(self, event: events.Paste) -> None:
        """Pasted text is typed text, on one line."""
        if self._planning.editor is not None:
            event.stop()
            self._planning.type(" ".join(event.text.split()))
            self.post_message(self.Edited())

    def on_click(self, event: events.Click) -> None:
        """Say which field was meant."""
        row = self._owners[event.y] if event.y < len(self._owners) else -1
        if row >= 0:
            self.post_message(self.Clicked(row, on_value=event.x > LABEL_CELLS))
