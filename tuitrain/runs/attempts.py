"""One attempt of a run: torchrun from its start to its end, watched; and what is known afterwards of how it ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import psutil

from tuitrain.events import ENDED, Event, read_events
from tuitrain.runs import processes
from tuitrain.runs.causes import Cause, exits_in, find_cause
from tuitrain.runs.heartbeats import forget_beats, read_beats
from tuitrain.runs.status import ProcessId, Status, write_status
from tuitrain.runs.torchrun import torchrun_command, trainer_environment
from tuitrain.runs.watchdog import POLL_S, Hang, Watchdog, ask_for_stacks, drop_empty_stacks

KILL_MARK = "killed-by-user"
"""A file in the run's folder: somebody wants the run dead, and nothing started again."""
ORPHANS_SAVE_S = 120.0
"""Trainers whose torchrun was killed save and stop by themselves; they are given so long."""
_MAX_LOG_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What happened."""

    number: int
    code: int
    """torchrun's exit code, negative for a signal."""
    said: Event | None
    """The ending the trainer wrote itself."""
    cause: Cause
    """Why it ended, if it did not end well."""
    stacks: bool
    """Whether processes were asked for their stacks, and answered."""
    asked_to_stop: bool

    @property
    def state(self) -> str:
        """The state the trainer ended in by its own word; empty where it had none."""
        return str(self.said.data.get("state")) if self.said is not None else ""


def run_attempt(run_dir: Path, *, nproc: int, number: int, hang_timeout_s: float, detail: str = "") -> Attempt:
    """Start torchrun, watch it until it is over, leave nothing behind."""
    forget_beats(run_dir)
    begun_ns, log = time.time_ns(), run_dir / "train.log"
    log_start = log.stat().st_size if log.exists() else 0
    me = ProcessId.current()
    status = Status(state="starting", host=socket.gethostname(), attempt=number, supervisor=me, detail=detail)
    write_status(run_dir, status, durable=True)
    print(f"tuitrain: attempt {number} of {run_dir.name}, {time.strftime('%Y-%m-%d %H:%M:%S')}", flush=True)
    watched = _Watched(run_dir, nproc=nproc, number=number, hang_timeout_s=hang_timeout_s)
    code = watched.to_the_end()
    drop_empty_stacks(run_dir)
    cause = find_cause(
        code=code,
        exits=exits_in(_log_since(log, log_start)),
        beats=read_beats(run_dir, attempt=number),
        hang=watched.hang,
        kernel_kills=watched.kernel_kills,
        nproc=nproc,
    )
    said = _said_since(run_dir, begun_ns)
    if said is not None and said.data.get("state") == "failed" and cause.kind in ("exit", "lost_peer"):
        cause = replace(cause, kind="error", reason=str(said.data.get("reason")))  # it ended in order, and said why
    return Attempt(
        number=number, code=code, said=said, cause=cause, stacks=watched.stacks,
        asked_to_stop=watched.asked_to_stop,
    )  # fmt: skip


class _Watched:
    """torchrun and what is below it."""

    def __init__(self, run_dir: Path, *, nproc: int, number: int, hang_timeout_s: float) -> None:
        self._run_dir, self._number = run_dir, number
        self.hang: Hang | None = None
        self.stacks = self.asked_to_stop = self.kernel_kills = False
        self._oom_kills = processes.oom_kills()
        self._watchdog = Watchdog(run_dir, attempt=number, nproc=nproc, timeout_s=hang_timeout_s)
        self._torchrun = subprocess.Popen(
            torchrun_command(run_dir, nproc=nproc), env=trainer_environment(os.environ, attempt=number), cwd=run_dir
        )

    def to_the_end(self) -> int:
        """Wait; end it when it is stuck. Returns torchrun's exit code."""
        signal.signal(signal.SIGTERM, self._forward)
        signal.signal(signal.SIGINT, self._forward)
        while (code := self._wait(POLL_S)) is None:
            self._count_kernel_kills()
            self.hang = self._watchdog.look()
            if (self._run_dir / KILL_MARK).exists():  # the one who kills sees only what had been started by then
                processes.kill_below()
                code = self._torchrun.wait()
                break
            if self.hang is not None:
                self.stacks = ask_for_stacks(self._run_dir, attempt=self._number)
                processes.kill_below()
                code = self._torchrun.wait()
                break
        self._count_kernel_kills()
        if code < 0 and self.hang is None:
            processes.wait_below(ORPHANS_SAVE_S)
        processes.kill_below()
        processes.reap()
        return code

    def _wait(self, timeout_s: float) -> int | None:
        try:
            return self._torchrun.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def _count_kernel_kills(self) -> None:
        """Only a kill of the last moment can be this attempt's end: others share the control group."""
        now = processes.oom_kills()
        self.kernel_kills = now is not None and self._oom_kills is not None and now > self._oom_kills
        self._oom_kills = now

    def _forward(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM and SIGINT to the supervisor mean: save and stop. The trainers are told, the agent waits for them."""
        self.asked_to_stop = True
        try:
            trainers = psutil.Process(self._torchrun.pid).children(recursive=False)
        except psutil.Error:
            return
        for trainer in trainers:
            os.kill(trainer.pid, signal.SIGTERM)


def _said_since(run_dir: Path, begun_ns: int) -> Event | None:
    """The newest ending a trainer wrote in this attempt."""
    ends = [
        event
        for event in read_events(run_dir / "events")
        if event.kind == "run_end" and event.rank >= 0 and event.t_ns >= begun_ns and event.data.get("state") in ENDED
    ]
    return ends[-1] if ends else None


def _log_since(path: Path, start: int) -> str:
    """What torchrun and rank 0 have written in this attempt; the end of it where it is long."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - _MAX_LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
