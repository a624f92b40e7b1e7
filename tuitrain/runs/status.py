"""status.json: who works on a run, and when it was last heard of.

Written by one process at a time: the supervisor before it starts the trainer and after it ended, the trainer's heartbeat thread
in between. A pid alone proves nothing after a reboot, so the start time of the process stands beside it.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from tuitrain.events import ENDED
from tuitrain.files import read_json, write_json

HEARTBEAT_S = 2.0
STALE_AFTER_S = 30.0
STUCK_AFTER_S = 300.0
"""Longer than any phase goes without a sign: compiling, or one step of a model far too large for its machine."""
_FILE = "status.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessId:
    """A process that can still be told from a later one with the same number."""

    pid: int
    start_time_s: float

    @classmethod
    def current(cls) -> ProcessId:
        """The calling process."""
        return cls(pid=os.getpid(), start_time_s=psutil.Process().create_time())

    def process(self) -> psutil.Process | None:
        """The process, when it is still the same one and not a zombie."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.start_time_s) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            pass  # gone, or not ours to look at: either way not the process we mean
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """The content of status.json."""

    state: str
    """starting | running | paused | finished | stopped | failed | killed"""
    host: str
    attempt: int
    supervisor: ProcessId | None = None
    trainer: ProcessId | None = None
    heartbeat_s: float = 0.0
    """When the trainer's process was last alive, seconds since the epoch."""
    progress_s: float = 0.0
    """When its training thread last moved: a heartbeat without progress is a hang."""
    detail: str = ""

    def with_(self, **changes: object) -> Status:
        """A changed copy."""
        return replace(self, **changes)  # type: ignore[arg-type]


def read_status(run_dir: Path) -> Status | None:
    """The status of a run, None when there is none yet or it cannot be read."""
    raw = read_json(run_dir / _FILE)
    if not isinstance(raw, dict):
        return None
    try:
        for key in ("supervisor", "trainer"):
            raw[key] = ProcessId(**raw[key]) if raw.get(key) else None
        return Status(**{key: raw[key] for key in Status.__dataclass_fields__ if key in raw})
    except TypeError:
        return None


def write_status(run_dir: Path, status: Status, *, durable: bool = False) -> None:
    """Replace the status. Heartbeats are not fsynced: an old one after a power cut is true."""
    write_json(run_dir / _FILE, asdict(status), durable=durable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Liveness:
    """Whether anybody works on a run, and what to tell people about it."""

    alive: bool
    stale: bool
    text: str


def liveness(status: Status | None, now_s: float | None = None) -> Liveness:
    """Judge a status: alive is said of processes that exist, stale of heartbeats that stopped. Nothing is called crashed on
    suspicion."""
    if status is None:
        return Liveness(alive=False, stale=False, text="never started")
    now_s = time.time() if now_s is None else now_s
    over = status.state in ENDED
    if status.host != socket.gethostname():
        return _elsewhere(status, now_s)
    if not any(each is not None and each.process() is not None for each in (status.trainer, status.supervisor)):
        age = format_age(now_s - _last_heard_s(status))
        text = status.state if over else f"its processes are gone; last heartbeat {age} ago"
        return Liveness(alive=False, stale=not over, text=text)
    if over:  # the ending is written, torchrun and the supervisor are on their way out
        return Liveness(alive=True, stale=False, text=status.state)
    age_s, stuck_s = now_s - _last_heard_s(status), now_s - status.progress_s
    if age_s >= STALE_AFTER_S and status.heartbeat_s:
        return Liveness(alive=True, stale=True, text=f"no heartbeat for {format_age(age_s)}")
    if status.progress_s and stuck_s >= STUCK_AFTER_S and status.state == "running":
        return Liveness(alive=True, stale=True, text=f"alive, but no progress for {format_age(stuck_s)}")
    return Liveness(alive=True, stale=False, text=status.state)


def _elsewhere(status: Status, now_s: float) -> Liveness:
    """A run of another machine (a shared disk): heartbeats are all there is to go by."""
    if status.state in ENDED:
        return Liveness(alive=False, stale=False, text=status.state)
    age_s = now_s - _last_heard_s(status)
    text = f"runs on {status.host}; last heartbeat {format_age(age_s)} ago"
    return Liveness(alive=age_s < STALE_AFTER_S, stale=age_s >= STALE_AFTER_S, text=text)


def _last_heard_s(status: Status) -> float:
    return max(status.heartbeat_s, status.supervisor.start_time_s if status.supervisor else 0.0)


def format_age(seconds: float) -> str:
    """'42 s', '2 m 10 s', '3 h 05 m', '2 d 4 h'."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
