"""Home: what this machine is, every run in a line - or, where there is none yet, the one key that starts a demo."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult

from tuitrain.runs.status import format_age
from tuitrain.runs.store import Run
from tuitrain.tui.actions import RUNS, bindings
from tuitrain.tui.messages import JobDone, RunsListed
from tuitrain.tui.render.home import empty_lines, hint_lines, preview_lines, title_line
from tuitrain.tui.render.summary import RunSummary
from tuitrain.tui.render.view import RunView
from tuitrain.tui.screens.jobs import JobScreen, Say
from tuitrain.tui.widgets.footer_bar import FooterBar
from tuitrain.tui.widgets.lines import Lines
from tuitrain.tui.widgets.run_table import RunTable

DEMO_MINUTES = 3.0
_FIXED_ROWS = 4
"""Title with a blank line, hints, footer."""
_MIN_LIST_ROWS, _MIN_PREVIEW_ROWS = 5, 11


class RunsScreen(JobScreen):
    """The list of runs."""

    WHERE = RUNS
    BINDINGS = bindings(RUNS)

    def __init__(self) -> None:
        super().__init__()
        self.runs: tuple[RunSummary, ...] | None = None
        """None until the folder was looked into."""
        self.machine = ""
        self.said = ""
        """What a job is doing, while it does it."""
        self._said_s = 0.0

    def compose(self) -> ComposeResult:
        """Title, list or choices, hints, keys."""
        ascii_only = self.glyphs.ascii_only
        yield Lines("machine", ascii_only=ascii_only)
        yield RunTable(self.glyphs)
        yield Lines("preview", ascii_only=ascii_only)
        yield Lines("empty", ascii_only=ascii_only)
        yield Lines("said", ascii_only=ascii_only)
        yield Lines("hints", ascii_only=ascii_only)
        yield FooterBar(RUNS, ascii_only=ascii_only)

    def on_mount(self) -> None:
        """Ages grow by the second; everything else comes by message."""
        self.call_after_refresh(self.paint)
        self.set_interval(1.0, self.paint)

    @property
    def table(self) -> RunTable:
        """The list."""
        return self.query_one(RunTable)

    @property
    def is_empty(self) -> bool:
        """Whether it is known that there is no run."""
        return self.runs == ()

    def listed(self, message: RunsListed) -> None:
        """A new list of runs."""
        if message.runs or message.complete:
            self.runs = message.runs
        self.paint()

    def paint(self) -> None:
        """Show what is known."""
        if not self.on_stage:
            return
        width = self.size.width
        with self.app.batch_update():
            self.set_class(self.is_empty, "-empty")
            self._lines("machine").show([title_line(self.machine, width, self.glyphs), ()])
            self._lines("said").show([((self._said_for(), "alert"),)] if self.said and not self.is_empty else [])
            if self.is_empty:
                self._lines("empty").show(empty_lines(width, self.glyphs, self._said_for()))
                self._lines("hints").show([])
            elif self.runs is not None:
                preview_rows = self._share_height(len(self.runs))
                self.table.fill(self.runs, self.tui.clock())
                self._show_preview(width, preview_rows)
                self._lines("hints").show(hint_lines(width))
            hidden = self.job_hidden() | ({"open"} if self.is_empty else set())
            self.query_one(FooterBar).show_keys(
                self.job_labels() | ({"demo": "Watch a demo"} if self.is_empty else {}), frozenset(hidden)
            )

    def _said_for(self) -> str:
        """What a job is doing, and for how long the user has waited."""
        waited_s = self.tui.clock() - self._said_s
        return f"{self.said} ({format_age(waited_s)})" if self.said and self._said_s > 0 and waited_s >= 2 else self.said

    def _share_height(self, runs: int) -> int:
        """Give the list what it needs and the preview the rest, when that is enough for a chart; returns the preview's rows."""
        room = self.size.height - _FIXED_ROWS - len(self.said.splitlines())
        needed = runs + 1
        rest = room - min(needed, max(_MIN_LIST_ROWS, room // 2))
        rest = rest if rest >= _MIN_PREVIEW_ROWS else 0
        self.table.styles.height = room - rest
        return rest

    def _show_preview(self, width: int, rows: int) -> None:
        """The selected run at a glance."""
        chosen, preview = self.table.selected, self._lines("preview")
        if chosen is None or not rows:
            preview.show([])
            return
        view = RunView(run_id=chosen.run_id, state=chosen.state, now_s=self.tui.clock(), glyphs=self.glyphs)
        preview.show(preview_lines(view, chosen, width, rows))

    def on_screen_suspend(self) -> None:
        """The list rests while another screen is on top."""
        self.tui.bridge.runs.visible = False

    def on_screen_resume(self) -> None:
        """In sight again: look at once."""
        self.tui.bridge.runs.visible = True
        self.tui.bridge.runs.wake()
        self.paint()

    def job_target(self) -> tuple[Run, RunSummary] | None:
        """The selected run."""
        chosen = self.table.selected if self.runs else None
        return None if chosen is None else (Run(self.tui.bridge.store.root / chosen.run_id), chosen)

    def action_open(self) -> None:
        """Open the selected run; start the demo where there is none."""
        if self.is_empty:
            self.action_demo()
        elif target := self.job_target():
            self.tui.open_run(target[0])

    @on(RunTable.Opened)
    def open_clicked(self) -> None:
        """Clicked twice."""
        self.action_open()

    def action_plan(self) -> None:
        """The Plan screen."""
        self.tui.open_plan()

    def action_demo(self) -> None:
        """Start the demo in a thread: it may have to measure this machine first."""
        if self.said:
            return
        self.said, self._said_s = "starting the demo training", self.tui.clock()
        root = self.tui.bridge.store.root
        self.paint()

        def start(say: Say) -> JobDone:
            # the configuration schema comes with it: 0.2 s that the first frame must not wait for
            from tuitrain.runs.demo import start_demo

            run = start_demo(minutes=DEMO_MINUTES, runs_root=root, say=say)
            return JobDone("the demo trains; quit any time with q, it goes on", open_run=run.path)

        self.tui.bridge.job("demo", start)

    def action_row_up(self) -> None:
        """The run above."""
        self._move(-1)

    def action_row_down(self) -> None:
        """The run below."""
        self._move(1)

    def action_row_first(self) -> None:
        """The first run."""
        self._move(-len(self.runs or ()))

    def action_row_last(self) -> None:
        """The last run."""
        self._move(len(self.runs or ()))

    def _move(self, by: int) -> None:
        self.table.move(by)
        self.paint()

    def _lines(self, pane_id: str) -> Lines:
        return self.query_one(f"#{pane_id}", Lines)
