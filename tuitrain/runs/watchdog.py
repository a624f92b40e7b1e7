"""Who is stuck? Looks at the heartbeats of a run's processes, and asks all for their stacks before they are killed.

A run is hung when *no* process has moved for `run.hang_timeout_s`: one that waits for another that still works is not stuck,
and those that wait for a stuck one come to rest too. A process that somebody suspended is found by its silence, sooner. All
times are counted by the watching process, in small pieces: a laptop that slept for a night comes back to a run that lives.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tuitrain.runs.heartbeats import RankBeat, read_beats
from tuitrain.runs.processes import is_suspended
from tuitrain.runs.status import STALE_AFTER_S
from tuitrain.runs.store import stacks_file

POLL_S = 1.0
_START_S = 300.0
"""Importing torch from a cold or shared disk gives no sign, and takes what it takes."""
_STACKS_WAIT_S = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """Processes that no longer move."""

    ranks: tuple[int, ...]
    """The stuck ones; empty where none is behind the others."""
    reason: str


@dataclass(slots=True)
class _Seen:
    heartbeat_s: float = 0.0
    progress_s: float = 0.0
    silent_s: float = 0.0
    """Watched time without a new heartbeat."""
    idle_s: float = 0.0
    """Watched time without progress."""


class Watchdog:
    """Watches one attempt."""

    def __init__(self, run_dir: Path, *, attempt: int, nproc: int, timeout_s: float) -> None:
        self._run_dir, self._attempt, self._timeout_s = run_dir, attempt, timeout_s
        self._silence_s = min(STALE_AFTER_S, timeout_s)
        self._seen = {rank: _Seen() for rank in range(nproc)}
        self._looked_s = time.monotonic()

    def look(self) -> Hang | None:
        """Call it every POLL_S."""
        now_s = time.monotonic()
        waited_s, self._looked_s = min(now_s - self._looked_s, 2 * POLL_S), now_s
        beats = read_beats(self._run_dir, attempt=self._attempt)
        suspended = {rank for rank, beat in beats.items() if rank in self._seen and is_suspended(beat.process())}
        if len(suspended) == len(self._seen):
            return None  # somebody put all of it to sleep, and will wake it
        for rank, seen in self._seen.items():
            _look_at(seen, beats.get(rank), waited_s)
        return self._suspended(suspended, beats) or self._idle(beats)

    def _suspended(self, suspended: set[int], beats: dict[int, RankBeat]) -> Hang | None:
        ranks = tuple(sorted(rank for rank in suspended if self._seen[rank].silent_s > self._silence_s))
        if not ranks:
            return None
        silent_s = max(self._seen[rank].silent_s for rank in ranks)
        return Hang(
            ranks=ranks, reason=f"{_names(ranks, beats)} gave no sign of life for {silent_s:.0f} s: suspended (SIGSTOP)"
        )

    def _idle(self, beats: dict[int, RankBeat]) -> Hang | None:
        idle_s = min(seen.idle_s for seen in self._seen.values())
        begun = len(beats) == len(self._seen) and all(beat.phase != "start" for beat in beats.values())
        if idle_s <= (self._timeout_s if begun else max(self._timeout_s, _START_S)):
            return None
        missing = [rank for rank in self._seen if rank not in beats]
        if missing:
            return Hang(ranks=tuple(missing), reason=f"{_names(missing, beats)} never began: nothing heard for {idle_s:.0f} s")
        silent = [rank for rank, seen in self._seen.items() if seen.silent_s > self._silence_s]
        behind = silent or behind_in(beats)
        if not behind:
            where = ", ".join(sorted({beat.waiting_in for beat in beats.values() if beat.waiting_in}))
            all_wait = f"all wait in {where}" if where and len(beats) > 1 else _where(beats[min(beats)])
            return Hang(ranks=(), reason=f"no progress for {idle_s:.0f} s: {all_wait}")
        others = [rank for rank in beats if rank not in behind]
        waiting = f"; {_names(others, beats, pids=False)} waiting in {beats[others[0]].waiting_in}" if others else ""
        where = _where(beats[behind[0]])
        return Hang(ranks=tuple(behind), reason=f"{_names(behind, beats)} made no progress for {idle_s:.0f} s {where}{waiting}")


def _look_at(seen: _Seen, beat: RankBeat | None, waited_s: float) -> None:
    heartbeat_s, progress_s = (beat.heartbeat_s, beat.progress_s) if beat else (0.0, 0.0)
    seen.silent_s = 0.0 if heartbeat_s != seen.heartbeat_s else seen.silent_s + waited_s
    seen.idle_s = 0.0 if progress_s != seen.progress_s or (beat and beat.state == "left") else seen.idle_s + waited_s
    seen.heartbeat_s, seen.progress_s = heartbeat_s, progress_s


def behind_in(beats: dict[int, RankBeat]) -> list[int]:
    """Ranks that have not reached a collective another is in. A group a rank has entered nothing of is not its group, except
    where it has entered nothing at all."""
    furthest: dict[str, int] = {}
    for beat in beats.values():
        for group, count in beat.reached.items():
            furthest[group] = max(furthest.get(group, 0), count)
    return [
        rank
        for rank, beat in sorted(beats.items())
        if any(count < furthest[group] for group, count in beat.reached.items()) or (furthest and not beat.reached)
    ]


def _where(beat: RankBeat) -> str:
    return f"in {beat.phase}, step {beat.step}"


def _names(ranks: tuple[int, ...] | list[int], beats: dict[int, RankBeat], *, pids: bool = True) -> str:
    """'rank 1 (pid 123), rank 3 (pid 125)'."""
    return ", ".join(f"rank {rank}" + (f" (pid {beats[rank].pid})" if pids and rank in beats else "") for rank in ranks)


def ask_for_stacks(run_dir: Path, *, attempt: int) -> bool:
    """Have every process write the stacks of its threads into the run. Returns whether any did."""
    asked = []
    for rank, beat in read_beats(run_dir, attempt=attempt).items():
        process = beat.process()
        if process is None:
            continue
        was_suspended = is_suspended(process)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(beat.pid, signal.SIGUSR2)
            if was_suspended:  # only a process that runs can look at itself
                os.kill(beat.pid, signal.SIGCONT)
            asked.append(stacks_file(run_dir, rank=rank, attempt=attempt))
    deadline_s = time.monotonic() + _STACKS_WAIT_S
    while not all(map(_is_written, asked)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    time.sleep(0.3)  # the last one may still be writing
    return any(map(_is_written, asked))


def drop_empty_stacks(run_dir: Path) -> None:
    """Files of processes that nobody asked."""
    folder = run_dir / "stacks"
    for path in folder.glob("*.txt") if folder.is_dir() else ():
        if not _is_written(path):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _is_written(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
