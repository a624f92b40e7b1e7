"""The only threads of the interface. They read run folders and do what was asked; they post messages and touch no widget.

RunTail      one per open run: events, log, status. 100 ms while the run grows and is looked at, 1 s otherwise
ListPoller   the list of runs, at most once a second, resting while another screen is on top
Bridge.job   anything that may take time: starting, resuming, stopping, deleting
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.message import Message

from tuitrain.data.chat.findings import Finding
from tuitrain.errors import TuitrainError
from tuitrain.runs.flight import FILE as FLIGHT_FILE
from tuitrain.runs.flight import read_findings
from tuitrain.runs.status import Liveness, liveness
from tuitrain.runs.store import Run, RunStore, rank_log
from tuitrain.tui.logtail import LogTail
from tuitrain.tui.messages import JobDone, JobFailed, JobSaid, MachineSeen, RunGrew, RunsListed
from tuitrain.tui.render.summary import RunSummary, summarise
from tuitrain.tui.store import RunFeed, skim

FAST_S, SLOW_S = 0.1, 1.0
_GROWING_S = 10.0
"""A run counts as growing this long after its last event: slow steps are no silence."""
Post = Callable[[Message], object]


class RunTail(threading.Thread):
    """Follows one run."""

    def __init__(self, run: Run, post: Post, clock: Callable[[], float]) -> None:
        super().__init__(name=f"tail {run.run_id}", daemon=True)
        self.run_folder = run
        self.feed = RunFeed(run.events_dir)
        self.log = LogTail(run.log_file)
        self._rank_logs: dict[int, LogTail] = {}
        """Logs of other ranks that somebody looks at."""
        self.liveness: Liveness | None = None
        self.plan: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.findings: tuple[Finding, ...] | None = None
        """Of the flight check; None before it, and where there is none."""
        self._flight_ns = 0
        self.caught_up = threading.Event()
        """Set once everything that was there at the start is folded."""
        self.visible = True
        self._post, self._clock = post, clock
        self._stop_asked, self._wake = threading.Event(), threading.Event()

    def run(self) -> None:
        """The thread."""
        self._read_documents()
        grew_s = status_s = -_GROWING_S
        while not self._stop_asked.is_set():
            now_s = time.monotonic()
            changed = False
            if now_s - status_s >= SLOW_S:
                status_s, changed = now_s, self._read_status() | self._read_flight()
            grew = self.feed.poll()
            changed |= grew | self.log.poll()
            for log in list(self._rank_logs.values()):
                changed |= log.poll()
            if grew:
                grew_s = now_s
            if changed:
                self._post(RunGrew(self.run_folder.path))
            if grew:  # there may be more: fold on, slice by slice, without a pause
                continue
            self.caught_up.set()
            self._wake.wait(FAST_S if self.visible and now_s - grew_s < _GROWING_S else SLOW_S)
            self._wake.clear()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def rank_log(self, rank: int) -> LogTail:
        """The log of a rank, followed from now on; rank 0's is always followed."""
        if rank == 0:
            return self.log
        log = self._rank_logs.setdefault(rank, LogTail(rank_log(self.run_folder.path, rank)))
        self.wake()
        return log

    def leave_rank_log(self, rank: int) -> None:
        """Nobody looks at that rank's log any more."""
        self._rank_logs.pop(rank, None)

    def stop(self) -> None:
        """End the thread soon."""
        self._stop_asked.set()
        self._wake.set()

    def _read_documents(self) -> None:
        resolved = self.run_folder.resolved()
        config = resolved.get("config") if isinstance(resolved, dict) else None
        self.config = config if isinstance(config, dict) else {}
        plan = self.run_folder.plan()
        self.plan = plan if isinstance(plan, dict) else {}

    def _read_status(self) -> bool:
        now = liveness(self.run_folder.status(), self._clock())
        changed, self.liveness = now != self.liveness, now
        return changed

    def _read_flight(self) -> bool:
        """The flight check comes minutes after the start, and again with every attempt."""
        try:
            written_ns = (self.run_folder.path / FLIGHT_FILE).stat().st_mtime_ns
        except OSError:
            return False
        if written_ns == self._flight_ns:
            return False
        self._flight_ns, self.findings = written_ns, read_findings(self.run_folder.path)
        return True


class ListPoller(threading.Thread):
    """Keeps the list of runs fresh. Live runs are followed, others are skimmed once."""

    def __init__(self, store: RunStore, post: Post, clock: Callable[[], float]) -> None:
        super().__init__(name="run list", daemon=True)
        self.visible = True
        self._store, self._post, self._clock = store, post, clock
        self._feeds: dict[Path, RunFeed] = {}
        self._rest: dict[Path, tuple[tuple[int, int], RunSummary]] = {}
        self._stop_asked, self._wake = threading.Event(), threading.Event()
        self._last: tuple[RunSummary, ...] | None = None

    def run(self) -> None:
        """The thread."""
        while not self._stop_asked.is_set():
            if self.visible or self._last is None:
                self._look()
            self._wake.wait(SLOW_S)
            self._wake.clear()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread soon."""
        self._stop_asked.set()
        self._wake.set()

    def _look(self) -> None:
        """List all runs at once, then look into each; what was not looked into yet stands there by name."""
        runs = self._store.list()
        found: dict[Path, RunSummary] = {run.path: self._rest[run.path][1] for run in runs if run.path in self._rest}
        for path in self._feeds.keys() - {run.path for run in runs}:
            del self._feeds[path]
        told_s = time.monotonic()
        for run in runs:
            if self._stop_asked.is_set():
                return
            with contextlib.suppress(OSError):  # a folder that goes away while we look
                found[run.path] = self._summary(run)
            if time.monotonic() - told_s > SLOW_S / 2:
                told_s = time.monotonic()
                self._post(RunsListed(self._ordered(runs, found), complete=False))
        summaries = self._ordered(runs, found)
        if summaries != self._last:
            self._last = summaries
            self._post(RunsListed(summaries, complete=True))

    def _ordered(self, runs: list[Run], found: dict[Path, RunSummary]) -> tuple[RunSummary, ...]:
        """Live runs first, then the newest."""
        known = [found[run.path] for run in runs if run.path in found]
        return tuple(sorted(known, key=lambda summary: not summary.live))

    def _summary(self, run: Run) -> RunSummary:
        now = liveness(run.status(), self._clock())
        created_s = (run.path / "config.toml").stat().st_mtime
        if now.alive:
            feed = self._feeds.setdefault(run.path, RunFeed(run.events_dir))
            summary = summarise(run.run_id, feed.catch_up(), now, created_s)
            self._rest[run.path] = ((-1, -1), summary)
            return summary
        self._feeds.pop(run.path, None)
        print_ = _fingerprint(run.events_dir)
        kept = self._rest.get(run.path)
        if kept is not None and kept[0] == print_ and kept[1].badge.word not in ("GONE", "NOT STARTED"):
            return kept[1]
        summary = summarise(run.run_id, skim(run.events_dir), now, created_s)
        self._rest[run.path] = (print_, summary)
        return summary


def _fingerprint(events_dir: Path) -> tuple[int, int]:
    """(bytes, newest change) of a run's logs."""
    stats = [path.stat() for path in events_dir.glob("*.jsonl")]
    return sum(each.st_size for each in stats), max((each.st_mtime_ns for each in stats), default=0)


class Bridge:
    """Owner of the threads. Everything it hears goes to the app as messages."""

    def __init__(self, store: RunStore, post: Post, clock: Callable[[], float] = time.time) -> None:
        self.store, self.clock = store, clock
        self._post = post
        self._closed = False
        self.runs = ListPoller(store, self.post, clock)
        self._tails: dict[Path, RunTail] = {}
        self._jobs: set[threading.Thread] = set()

    def post(self, message: Message) -> None:
        """Hand a message to the app; silence once it is closing."""
        if not self._closed:
            with contextlib.suppress(RuntimeError):  # the event loop closed between the two lines
                self._post(message)

    def start(self, describe_machine: Callable[[], str]) -> None:
        """Start watching the list, and find out what machine this is."""
        self.runs.start()
        self._thread("machine", lambda: self.post(MachineSeen(describe_machine())))

    def open(self, run: Run) -> RunTail:
        """Follow a run; the same thread for whoever asks again."""
        tail = self._tails.get(run.path)
        if tail is None:
            tail = self._tails[run.path] = RunTail(run, self.post, self.clock)
            tail.start()
        return tail

    def close_run(self, run: Run) -> None:
        """Stop following a run."""
        tail = self._tails.pop(run.path, None)
        if tail is not None:
            tail.stop()

    def job(self, name: str, work: Callable[[Callable[[str], None]], JobDone | None]) -> None:
        """Do something that may take time. `work` gets a function that says how far it is."""

        def guarded() -> None:
            try:
                done = work(lambda text: self.post(JobSaid(text)))
            except TuitrainError as error:
                self.post(JobFailed(error.message, error.hint))
            except OSError as error:
                self.post(JobFailed(f"{name}: {error.strerror or error}", str(error.filename or "")))
            except Exception as error:
                self.post(JobFailed(f"{name}: {type(error).__name__}: {error}", "this is a bug in tuitrain; please report it"))
            else:
                if done is not None:
                    self.post(done)
            self.runs.wake()

        self._thread(name, guarded)

    def live_runs(self) -> int:
        """How many runs keep training when we leave."""
        return sum(liveness(run.status(), self.clock()).alive for run in self.store.list())

    def stop(self, timeout_s: float = 2.0) -> None:
        """End all threads. A job that hangs is left behind: threads of ours never keep the process alive."""
        self._closed = True
        threads: list[threading.Thread] = [*self._tails.values(), *([self.runs] if self.runs.ident else []), *self._jobs]
        self.runs.stop()
        for tail in self._tails.values():
            tail.stop()
        deadline_s = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        self._tails.clear()

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        def run() -> None:
            target()
            self._jobs.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._jobs.add(thread)
        thread.start()
