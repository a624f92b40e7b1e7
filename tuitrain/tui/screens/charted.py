"""Keys of charts, shared by the dashboard and the full-screen chart: both look at the same run in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual import on
from textual.timer import Timer

from tuitrain.runs.store import Run
from tuitrain.tui.bridge import RunTail
from tuitrain.tui.render.axes import step_axis, step_window
from tuitrain.tui.render.metrics import keys_of
from tuitrain.tui.render.options import ChartOptions
from tuitrain.tui.render.ranks import has_ranks
from tuitrain.tui.render.summary import RunSummary, summarise
from tuitrain.tui.render.view import RunView
from tuitrain.tui.screens.jobs import JobScreen
from tuitrain.tui.widgets.chart_pane import ChartPane, Look
from tuitrain.tui.widgets.footer_bar import FooterBar

EXAMPLE_STAGES = ("sft", "dpo")
"""Stages that learn from examples, and are checked before they start."""


class ChartedScreen(JobScreen):
    """A screen with charts of one run."""

    def __init__(self, tail: RunTail, look: Look) -> None:
        super().__init__()
        self.tail, self.look = tail, look
        self.painted: object = None
        """What the last paint showed."""
        self._timer: Timer | None = None

    def view(self) -> RunView:
        """The run now. Hold the feed's lock."""
        feed = self.tail.feed
        return RunView(
            run_id=self.tail.run_folder.run_id,
            state=feed.state,
            now_s=self.tui.clock(),
            glyphs=self.glyphs,
            liveness=self.tail.liveness,
            plan=self.tail.plan,
            config=self.tail.config,
            findings=self.tail.findings,
            smoothers=self.look.smoothers,
            epoch=feed.generation,
        )

    def on_mount(self) -> None:
        """Paint at the terminal's pace; only what changed costs anything."""
        self.call_after_refresh(self.paint)
        self._timer = self.set_interval(self.tui.frame_s, self.paint)

    def on_screen_suspend(self) -> None:
        """Hidden: the data keeps flowing, the painting rests."""
        if self._timer is not None:
            self._timer.pause()
        self.tail.visible = False

    def on_screen_resume(self) -> None:
        """In sight again."""
        self.tail.visible = True
        self.tail.wake()
        if self._timer is not None:
            self._timer.resume()
            self.paint()

    def changed(self, *more: object) -> bool:
        """Whether anything a paint would show differs from the last one."""
        now = (
            self.tail.feed.version, self.tail.log.version, self.tail.liveness, int(self.tui.clock()), self.tail.findings,
            self.look.options, self.look.active, dict(self.look.y_kinds), self.size, self.app.theme, *more,
        )  # fmt: skip
        if now == self.painted:
            return False
        self.painted = now
        return True

    def job_target(self) -> tuple[Run, RunSummary] | None:
        """The run of this screen."""
        with self.tail.feed.lock:
            return self.tail.run_folder, summarise(self.tail.run_folder.run_id, self.tail.feed.state, self.tail.liveness)

    def show_footer(self) -> None:
        """Keys that work now, under the name of what they would do."""
        frozen = {"freeze": "Follow"} if self.look.options.range == "frozen" else {}
        hidden = self.job_hidden() if self.tunes else self.job_hidden() | {"flight", "tokens"}
        if not has_ranks(self.tail.feed.state):
            hidden |= {"ranks"}
        self.query_one(FooterBar).show_keys(frozen | self.job_labels(), hidden)

    @property
    def tunes(self) -> bool:
        """Whether the run learns from examples."""
        run = self.tail.config.get("run")
        return isinstance(run, dict) and run.get("stage") in EXAMPLE_STAGES

    # --- what the keys do ---------------------------------------------------------------------------------------------

    def _apply(self, options: ChartOptions) -> None:
        self.look.options = options
        self.paint()

    def _places(self) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
        """(window shown, what it may show, where the crosshair may go), all in steps."""
        with self.tail.feed.lock:
            axis = step_axis(self.view(), "step")
            steps: Sequence[float] = axis.steps.tolist()[:1] + axis.steps.tolist()[-1:]
            window = step_window(self.look.options, axis)
        cursor = (steps[0], steps[-1]) if steps else (0.0, 0.0)
        return window, (0.0, max(1.0, axis.total_steps)), cursor

    def action_chart_next(self) -> None:
        """The next chart becomes the large one."""
        self._turn(1)

    def action_chart_previous(self) -> None:
        """The previous chart becomes the large one."""
        self._turn(-1)

    def _turn(self, direction: int) -> None:
        with self.tail.feed.lock:
            self.look.turn(direction, keys_of(self.view()))
        self.paint()

    def action_freeze(self) -> None:
        """Stay, or follow again."""
        window, _, _ = self._places()
        frozen = self.look.options.range == "frozen"
        self._apply(replace(self.look.options, range="plan", window=None) if frozen else self.look.options.freeze(window))

    def action_scale(self) -> None:
        """Next vertical scale of the large chart."""
        self.look.next_y_kind()
        self.paint()

    def action_axis(self) -> None:
        """Next horizontal axis."""
        self._apply(self.look.options.next_axis())

    def action_range(self) -> None:
        """Next range."""
        self._apply(self.look.options.next_range())

    def action_smooth_more(self) -> None:
        """One level smoother."""
        self._apply(self.look.options.smoother(1))

    def action_smooth_less(self) -> None:
        """One level rougher."""
        self._apply(self.look.options.smoother(-1))

    def _move_cursor(self, direction: int) -> None:
        window, _, limits = self._places()
        cell = (window[1] - window[0]) / self.query_one("#main", ChartPane).plot_width
        self._apply(self.look.options.move_cursor(direction * max(1.0, cell), limits))

    def action_cursor_left(self) -> None:
        """Crosshair to earlier steps."""
        self._move_cursor(-1)

    def action_cursor_right(self) -> None:
        """Crosshair to later steps."""
        self._move_cursor(1)

    def _zoom(self, direction: int) -> None:
        window, limits, _ = self._places()
        self._apply(self.look.options.zoom(window, direction, limits))

    def action_zoom_in(self) -> None:
        """Fewer steps."""
        self._zoom(1)

    def action_zoom_out(self) -> None:
        """More steps."""
        self._zoom(-1)

    def action_zoom_reset(self) -> None:
        """The whole plan."""
        self._apply(self.look.options.reset())

    def _pan(self, direction: int) -> None:
        window, limits, _ = self._places()
        self._apply(self.look.options.pan(window, direction, limits))

    def action_pan_left(self) -> None:
        """Earlier."""
        self._pan(-1)

    def action_pan_right(self) -> None:
        """Later."""
        self._pan(1)

    def action_log(self) -> None:
        """The log on the whole screen."""
        from tuitrain.tui.screens.pagers import LogScreen

        self.app.push_screen(LogScreen(self.tail))

    def action_samples(self) -> None:
        """The samples on the whole screen."""
        from tuitrain.tui.screens.pagers import SamplesScreen

        self.app.push_screen(SamplesScreen(self.tail))

    def action_alerts(self) -> None:
        """All alerts."""
        from tuitrain.tui.screens.pagers import AlertsScreen

        self.app.push_screen(AlertsScreen(self.tail))

    def action_flight(self) -> None:
        """What the flight check found."""
        from tuitrain.tui.screens.pagers import FlightScreen

        self.app.push_screen(FlightScreen(self.tail))

    def action_ranks(self) -> None:
        """The processes side by side."""
        if not has_ranks(self.tail.feed.state):
            self.tui.say("one process trains: there are no ranks to compare", severity="warning")
            return
        from tuitrain.tui.screens.ranks import RanksScreen

        self.app.push_screen(RanksScreen(self.tail))

    def action_tokens(self) -> None:
        """The training examples, token by token."""
        if not self.tunes:
            self.tui.say(
                "pretraining learns from text, not from examples; a run of stage sft or dpo has them", severity="warning"
            )
            return
        from tuitrain.tui.screens.tokens import TokensScreen

        self.app.push_screen(TokensScreen(self.tail.run_folder))

    @on(ChartPane.Pointed)
    def point(self, event: ChartPane.Pointed) -> None:
        """The crosshair goes where the mouse clicked."""
        _, _, (first, last) = self._places()
        self._apply(replace(self.look.options, cursor_step=min(last, max(first, event.step))))

    @on(ChartPane.Wheeled)
    def wheel(self, event: ChartPane.Wheeled) -> None:
        """Zoom."""
        self._zoom(event.direction)

    @on(ChartPane.Chosen)
    def choose(self, event: ChartPane.Chosen) -> None:
        """A side chart becomes the large one."""
        self.look.active = event.key
        self.paint()
