"""Long texts of a run on the whole screen: log, samples, alerts, flight check."""

from __future__ import annotations

from textual.app import ComposeResult

from tuitrain.tui.actions import ALERTS, FLIGHT, LOG, SAMPLES, bindings
from tuitrain.tui.bridge import RunTail
from tuitrain.tui.render.flight import counts, flight_lines
from tuitrain.tui.render.format import count, size
from tuitrain.tui.render.panes import log_lines, note_lines, sample_body, sample_steps
from tuitrain.tui.render.view import RunView
from tuitrain.tui.screens.base import TuiScreen
from tuitrain.tui.screens.pager_keys import PagerKeys
from tuitrain.tui.widgets.footer_bar import FooterBar
from tuitrain.tui.widgets.pager import Pager


class PagerScreen(PagerKeys, TuiScreen):
    """A pager that shows something of a run, and keeps showing it while the run goes on."""

    FOLLOW = False

    def __init__(self, tail: RunTail) -> None:
        super().__init__()
        self.tail = tail
        self._painted: object = None

    def compose(self) -> ComposeResult:
        """The pager and the keys."""
        yield Pager("pager", self.glyphs, follow=self.FOLLOW)
        yield FooterBar(self.WHERE, ascii_only=self.glyphs.ascii_only)

    def on_mount(self) -> None:
        """Look again at the terminal's pace."""
        self.call_after_refresh(self.paint)
        self.set_interval(self.tui.frame_s, self.paint)

    def version(self) -> object:
        """Changes when the text does."""
        return self.tail.feed.version

    def fill(self) -> None:
        """Give the pager its text. The feed's lock is held."""
        raise NotImplementedError

    def paint(self) -> None:
        """Show the text when it, or the size, changed."""
        if not self.on_stage or self.pager.size.area == 0:
            return
        now = (self.version(), self.pager.size, self.app.theme)
        if now == self._painted:
            return
        self._painted = now
        with self.tail.feed.lock:
            self.fill()
        self.query_one(FooterBar).show_keys()

    def view(self) -> RunView:
        """The run now."""
        tail = self.tail
        return RunView(
            run_id=tail.run_folder.run_id, state=tail.feed.state, now_s=self.tui.clock(), glyphs=self.glyphs,
            liveness=tail.liveness, plan=tail.plan, config=tail.config, findings=tail.findings,
        )  # fmt: skip


class LogScreen(PagerScreen):
    """The end of a rank's log, followed while its last line is in sight; [ and ] go through the ranks.

    Rank 0 and torchrun share train.log.
    """

    WHERE = LOG
    BINDINGS = bindings(LOG)
    FOLLOW = True

    def __init__(self, tail: RunTail, rank: int = 0) -> None:
        super().__init__(tail)
        self.rank = rank
        self.log_tail = tail.rank_log(rank)

    def version(self) -> object:
        """Changes when the log does, with another rank, and with the number of ranks."""
        return self.rank, self.log_tail.version, len(self.tail.feed.state.present_ranks)

    def fill(self) -> None:
        """The lines kept, and what came before them."""
        log, ranks = self.log_tail, len(self.tail.feed.state.present_ranks)
        rows = log_lines(log.lines, self.pager.inner_width, len(log.lines), self.glyphs)
        before = f"{size(log.skipped_bytes)} before this" if log.skipped_bytes else ""
        others = f"rank {self.rank} of {ranks}, [ ] others" if ranks > 1 else ""
        empty = "nothing written yet" if self.rank == 0 else f"no log of rank {self.rank} yet"
        self.pager.fill(
            rows or [((empty, "dim"),)],
            (("log", "title"), (f" {log.path.name}", "dim")),
            "  ".join(filter(None, (others, before))),
        )

    def _turn(self, by: int) -> None:
        with self.tail.feed.lock:
            ranks = max(1, len(self.tail.feed.state.present_ranks))
        self.tail.leave_rank_log(self.rank)
        self.rank = (self.rank + by) % ranks
        self.log_tail = self.tail.rank_log(self.rank)
        self.pager.to_end()
        self.paint()

    def action_log_previous(self) -> None:
        """The log of the rank before."""
        self._turn(-1)

    def action_log_next(self) -> None:
        """The log of the next rank."""
        self._turn(1)

    def on_unmount(self) -> None:
        """Nobody looks any more."""
        self.tail.leave_rank_log(self.rank)


class SamplesScreen(PagerScreen):
    """What the model wrote at one step; [ and ] go through the steps."""

    WHERE = SAMPLES
    BINDINGS = bindings(SAMPLES)

    def __init__(self, tail: RunTail) -> None:
        super().__init__(tail)
        self._index: int | None = None

    def version(self) -> object:
        """Changes with the run and with the step looked at."""
        return len(self.tail.feed.state.samples), self._index

    def fill(self) -> None:
        """The samples of the step looked at."""
        steps = sample_steps(self.tail.feed.state.samples)
        if not steps:
            self.pager.fill([(("samples come with each evaluation", "dim"),)], (("samples", "title"),))
            return
        at = len(steps) - 1 if self._index is None else min(self._index, len(steps) - 1)
        rows = sample_body(self.view(), steps[at], self.pager.inner_width)
        self.pager.fill(rows, (("samples", "title"), (f" @ step {count(steps[at])}", "value")), f"{at + 1} of {len(steps)}")

    def _scrub(self, by: int) -> None:
        with self.tail.feed.lock:
            last = len(sample_steps(self.tail.feed.state.samples)) - 1
        at = (last if self._index is None else self._index) + by
        self._index = None if at >= last else max(0, at)
        self.paint()

    def action_older(self) -> None:
        """An earlier step."""
        self._scrub(-1)

    def action_newer(self) -> None:
        """A later step."""
        self._scrub(1)


class AlertsScreen(PagerScreen):
    """Warnings, guard trips, failed checkpoints and the trainer's answers, newest first."""

    WHERE = ALERTS
    BINDINGS = bindings(ALERTS)

    def fill(self) -> None:
        """All of them."""
        notes = len(self.tail.feed.state.notes)
        self.pager.fill(note_lines(self.view(), self.pager.inner_width), (("alerts", "title"),), f"{notes}, newest first")


class FlightScreen(PagerScreen):
    """What was looked at before the first step, the worst first; why there is nothing where there is nothing."""

    WHERE = FLIGHT
    BINDINGS = bindings(FLIGHT)

    def version(self) -> object:
        """Changes with the findings, and with how the run stands while it has none."""
        tail = self.tail
        return tail.findings if tail.findings is not None else (tail.feed.version, tail.liveness)

    def fill(self) -> None:
        """All findings."""
        found = self.tail.findings or ()
        self.pager.fill(flight_lines(self.view(), self.pager.inner_width), (("flight check", "title"),), counts(found))
