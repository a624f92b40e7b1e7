"""Every process below a supervisor: none is lost sight of, none is left behind, none stays a zombie. Must not import torch."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_KILL_WAIT_S = 10.0


def adopt_orphans() -> None:
    """Processes whose parent dies become children of this one and not of init: killing torchrun hides no trainer (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[psutil.Process]:
    """Everything below this process that still runs."""
    try:
        below = psutil.Process().children(recursive=True)
    except psutil.Error:
        return []
    return [each for each in below if is_running(each)]


def is_running(process: psutil.Process) -> bool:
    """Whether it exists and is more than a zombie."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def is_suspended(process: psutil.Process | None) -> bool:
    """Whether somebody stopped it with SIGSTOP."""
    try:
        return process is not None and process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def kill_below() -> None:
    """SIGKILL to everything below this process, deepest first, and wait until it is gone."""
    victims = descendants()
    for victim in reversed(victims):
        with contextlib.suppress(psutil.Error):
            victim.kill()
    deadline_s = time.monotonic() + _KILL_WAIT_S
    while any(map(is_running, victims)) and time.monotonic() < deadline_s:
        time.sleep(0.02)


def wait_below(limit_s: float) -> None:
    """Give what is below this process so long to end by itself."""
    deadline_s = time.monotonic() + limit_s
    while descendants() and time.monotonic() < deadline_s:
        time.sleep(0.1)


def reap() -> None:
    """Collect adopted children that have ended. Call it only when no `Popen` of this process is unfinished."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def oom_kills() -> int | None:
    """How many processes of this control group the kernel has killed for want of memory; None where nobody counts."""
    for path, key in (
        (_cgroup_v2() / "memory.events", "oom_kill"),
        (Path("/sys/fs/cgroup/memory/memory.oom_control"), "oom_kill"),
    ):
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == key:
                    return int(count)
    return None


def _cgroup_v2() -> Path:
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                below = root / line[3:].strip("/")
                return below if (below / "memory.events").exists() else root
    return root


def signal_name(number: int) -> str:
    """'SIGKILL' for 9; the number where it has no name here."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
