"""Which process died of what. torchrun's "root cause" is the lowest rank of the second in which it noticed, and often the
victim: a killed process breaks its partners' connections, and they are gone before torchrun has looked.

What is known: the exit codes in torchrun's summary, the last words every process left in its heartbeat, and what the watchdog
saw. A pure function of those, so that every combination can be tested.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuitrain.errors import EXIT_DOES_NOT_FIT, EXIT_RUN_FAILED
from tuitrain.runs.heartbeats import RankBeat
from tuitrain.runs.processes import signal_name
from tuitrain.runs.watchdog import Hang, behind_in

_FAILURE = re.compile(
    r"^\s*rank\s*:\s*(?P<rank>\d+) \(local_rank: \d+\)\s*\n\s*exitcode\s*:\s*(?P<code>-?\d+) \(pid: (?P<pid>\d+)\)",
    re.MULTILINE,
)
_KILLS = {signal.SIGKILL: "was killed (SIGKILL): by somebody, or by the kernel for want of memory"}
_CRASHES = {
    signal.SIGSEGV: "crashed (SIGSEGV)",
    signal.SIGABRT: "aborted (SIGABRT)",
    signal.SIGBUS: "crashed (SIGBUS): often a full disk or /dev/shm",
    signal.SIGFPE: "crashed (SIGFPE)",
    signal.SIGILL: "crashed (SIGILL): an instruction this processor lacks",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """How one process ended, as torchrun saw it."""

    rank: int
    code: int
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """What ended an attempt."""

    kind: str
    """killed | crashed | hung | out_of_memory | error | lost_peer | exit"""
    reason: str
    ranks: tuple[int, ...] = ()
    pid: int | None = None
    exit_code: int | None = None
    """Of that process, negative for a signal."""

    @property
    def rank(self) -> int | None:
        """The rank it lies with, where it is one."""
        return self.ranks[0] if len(self.ranks) == 1 else None

    def facts(self) -> dict[str, Any]:
        """The fields of an attempt_end event."""
        several = {"ended_ranks": list(self.ranks)} if len(self.ranks) > 1 else {}
        return {
            "cause": self.kind, "reason": self.reason, "ended_rank": self.rank, "pid": self.pid, "exit_code": self.exit_code,
        } | several  # fmt: skip


def exits_in(log: str) -> list[Exit]:
    """The processes torchrun's failure summary lists."""
    found = {
        int(match["rank"]): Exit(rank=int(match["rank"]), code=int(match["code"]), pid=int(match["pid"]))
        for match in _FAILURE.finditer(log)
    }
    return [found[rank] for rank in sorted(found)]


def find_cause(
    *,
    code: int,
    exits: list[Exit],
    beats: Mapping[int, RankBeat],
    hang: Hang | None,
    kernel_kills: bool,
    nproc: int,
) -> Cause:
    """The first true cause. `code` is torchrun's exit code; `kernel_kills`: the kernel has just killed for want of memory."""
    if hang is not None:
        pid = beats[hang.ranks[0]].pid if len(hang.ranks) == 1 and hang.ranks[0] in beats else None
        return Cause(kind="hung", reason=hang.reason, ranks=hang.ranks, pid=pid)
    told = sorted(beats.values(), key=lambda beat: beat.heartbeat_s)
    if (beat := _first(told, "out_of_memory")) is not None:
        reason = f"{_who(beat.rank, beat.pid, nproc)} ran out of memory in {beat.phase}, step {beat.step}: {beat.message}"
        return Cause(kind="out_of_memory", reason=reason, ranks=(beat.rank,), pid=beat.pid, exit_code=EXIT_DOES_NOT_FIT)
    if (found := _by_signal(exits, signal.SIGKILL)) is not None and not _left_with_code(beats.get(found.rank)):
        who = _who(found.rank, found.pid, nproc)
        if kernel_kills:
            reason = f"{who} was killed by the kernel for want of memory"
            return Cause(kind="out_of_memory", reason=reason, ranks=(found.rank,), pid=found.pid, exit_code=found.code)
        reason = f"{who} {_KILLS[signal.SIGKILL]}"
        return Cause(kind="killed", reason=reason, ranks=(found.rank,), pid=found.pid, exit_code=found.code)
    if (beat := _first(told, "error")) is not None:
        reason = f"{_who(beat.rank, beat.pid, nproc)} failed: {beat.message}" if nproc > 1 else beat.message
        return Cause(kind="error", reason=reason, ranks=(beat.rank,), pid=beat.pid, exit_code=beat.exit_code)
    return _without_words(code, exits, told, nproc)


def _without_words(code: int, exits: list[Exit], told: list[RankBeat], nproc: int) -> Cause:
    """Nobody said why: exit codes are all there is."""
    # SIGTERM is how torchrun ends those that are left over.
    crashes = [each for each in exits if each.code < 0 and each.code not in (-signal.SIGTERM, -signal.SIGKILL)]
    crashes.sort(key=lambda each: each.code == -signal.SIGABRT)  # a library's own giving up, often over another's crash
    for found in crashes:
        meaning = _CRASHES.get(signal.Signals(-found.code), f"was ended by {signal_name(-found.code)}")
        reason = f"{_who(found.rank, found.pid, nproc)} {meaning}"
        return Cause(kind="crashed", reason=reason, ranks=(found.rank,), pid=found.pid, exit_code=found.code)
    lost = {beat.rank for beat in told if beat.state in ("lost_peer", "left")}
    for found in exits:
        if found.code > 0 and found.rank not in lost:
            reason = f"{_who(found.rank, found.pid, nproc)} exited with code {found.code} and did not say why"
            return Cause(kind="exit", reason=reason, ranks=(found.rank,), pid=found.pid, exit_code=found.code)
    if code < 0:
        return Cause(kind="killed", reason=f"torchrun was ended by {signal_name(-code)}", exit_code=code)
    if (beat := _first(told, "lost_peer")) is not None and (behind := behind_in({each.rank: each for each in told})):
        late = ", ".join(_who(rank, next(each.pid for each in told if each.rank == rank), nproc) for rank in behind)
        reason = f"{late} did not come to {beat.waiting_in}, where rank {beat.rank} waited: {beat.message}"
        return Cause(kind="hung", reason=reason, ranks=tuple(behind))
    if (beat := _first(told, "lost_peer")) is not None:
        reason = f"{_who(beat.rank, beat.pid, nproc)} lost its connection to the others: {beat.message}"
        return Cause(kind="lost_peer", reason=reason, ranks=(beat.rank,), pid=beat.pid, exit_code=beat.exit_code)
    return Cause(kind="exit", reason=f"the trainer exited with code {code or EXIT_RUN_FAILED}", exit_code=code)


def _first(told: list[RankBeat], state: str) -> RankBeat | None:
    return next((beat for beat in told if beat.state == state), None)


def _by_signal(exits: list[Exit], number: int) -> Exit | None:
    return next((each for each in exits if each.code == -number), None)


def _left_with_code(beat: RankBeat | None) -> bool:
    """Whether it had said its last word before: torchrun kills those that do not leave in time."""
    return beat is not None and beat.state in ("error", "lost_peer")


def _who(rank: int, pid: int, nproc: int) -> str:
    return f"rank {rank} (pid {pid})" if nproc > 1 else f"the trainer (pid {pid})"
