"""A chart: renders itself when its run, its options or its size changed. Wheel zooms, a click sets the crosshair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from textual import events
from textual.message import Message

from tuitrain.tui.render.axes import step_axis, step_window
from tuitrain.tui.render.chart import GUTTER, chart_pane
from tuitrain.tui.render.metrics import BY_KEY
from tuitrain.tui.render.options import ChartOptions
from tuitrain.tui.render.scale import KINDS, Kind
from tuitrain.tui.render.smooth import Smoother
from tuitrain.tui.render.view import RunView
from tuitrain.tui.widgets.lines import Lines


@dataclass(slots=True)
class Look:
    """How the charts of a run are looked at; shared by the dashboard and the full-screen chart."""

    options: ChartOptions = field(default_factory=ChartOptions)
    active: str = "loss"
    y_kinds: dict[str, Kind] = field(default_factory=dict)
    smoothers: dict[str, Smoother] = field(default_factory=dict)

    def y_kind(self, key: str) -> Kind:
        """The vertical scale of a chart."""
        return self.y_kinds.get(key, BY_KEY[key].y_scale)

    def next_y_kind(self) -> None:
        """linear, log, robust, linear ... for the large chart."""
        self.y_kinds[self.active] = KINDS[(KINDS.index(self.y_kind(self.active)) + 1) % len(KINDS)]

    def turn(self, direction: int, keys: Sequence[str]) -> None:
        """Make another chart of a run's the large one."""
        at = keys.index(self.active) if self.active in keys else 0
        self.active = keys[(at + direction) % len(keys)]

    def others(self, count: int, keys: Sequence[str]) -> list[str]:
        """The charts of a run beside the large one, the most telling first."""
        ranked = ("margin", "accuracy", "grad", "speed", "memory", "lr", "loss", "bits", "mfu")
        first = ("loss",) if self.active != "loss" else ()
        return [key for key in dict.fromkeys((*first, *ranked)) if key != self.active and key in keys][:count]


class ChartPane(Lines):
    """One chart."""

    class Chosen(Message):
        """A side chart was clicked: it becomes the large one."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Pointed(Message):
        """A place in the large chart was clicked."""

        def __init__(self, step: float) -> None:
            super().__init__()
            self.step = step

    class Wheeled(Message):
        """The wheel was turned over a chart: +1 zooms in."""

        def __init__(self, direction: int) -> None:
            super().__init__()
            self.direction = direction

    def __init__(self, pane_id: str, *, main: bool, ascii_only: bool) -> None:
        super().__init__(pane_id, ascii_only=ascii_only)
        self.main = main
        self.key = "loss"
        self.builds = 0
        self._built: object = None
        self._step_at: list[float] = []

    @property
    def plot_width(self) -> int:
        """Cells of the picture."""
        return max(1, self.size.width - 2 - GUTTER - 1)

    def paint(self, view: RunView, look: Look, version: object) -> None:
        """Render when something it shows changed."""
        state_words = (view.state.state, view.liveness) if not len(view.state.steps) else None
        key = (version, self.key, look.options, look.y_kind(self.key), self.size, self.main, self.app.theme, state_words)
        if key == self._built or self.size.area == 0:
            return
        self._built = key
        self.builds += 1
        width, height = self.size
        axis = step_axis(view, look.options.x_axis)
        low, high = step_window(look.options, axis)
        x0, x1 = axis.at(low), axis.at(high)
        if self.main:
            self._step_at = [axis.step_at(x0 + (x1 - x0) * (cell + 0.5) / self.plot_width) for cell in range(self.plot_width)]
        self.show(
            chart_pane(view, BY_KEY[self.key], look.options, width, height, y_kind=look.y_kind(self.key), active=self.main)
        )

    def on_click(self, event: events.Click) -> None:
        """Set the crosshair, or become the large chart."""
        if not self.main:
            self.post_message(self.Chosen(self.key))
            return
        cell = event.x - 1 - GUTTER - 1
        if 0 <= cell < len(self._step_at):
            self.post_message(self.Pointed(self._step_at[cell]))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in."""
        event.stop()
        self.post_message(self.Wheeled(1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out."""
        event.stop()
        self.post_message(self.Wheeled(-1))
