"""What a training process says before it ends for a reason of its own: in its heartbeat, its log, and the event log.

Under a supervisor a run_end is written for plain errors only. Want of memory may be answered by a smaller micro-batch, and a
process that lost its partner knows nothing of the cause: about those the supervisor speaks. Without one, somebody here must.
"""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuitrain.errors import EXIT_DOES_NOT_FIT, EXIT_RUN_FAILED, TuitrainError
from tuitrain.events import EventWriter
from tuitrain.runs.heartbeats import RankBeat, read_beats
from tuitrain.runs.status import read_status, write_status

if TYPE_CHECKING:
    from tuitrain.trainer.heartbeat import Heartbeat
    from tuitrain.trainer.telemetry import Telemetry

_PATIENCE_S = 2.0
"""How long a process that lost its partner waits to learn which one: it may still be writing its own last words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Which process of which attempt this is."""

    rank: int
    size: int
    attempt: int
    supervised: bool
    """Whether somebody waits who says how the attempt ended, and what comes of it."""


class LastWords:
    """Of one process."""

    def __init__(self, run_dir: Path, place: Place) -> None:
        self._run_dir, self._place = run_dir, place

    def exception(self, error: Exception, heartbeat: Heartbeat, telemetry: Telemetry | None) -> int:
        """Tell an exception that ends this process; returns its exit code."""
        from tuitrain.trainer.failing import first_line, kind_of

        kind = "error" if isinstance(error, TuitrainError) else kind_of(error)
        if isinstance(error, TuitrainError):
            reason, code, said = error.message, error.exit_code, str(error)
        else:
            reason, said = first_line(error), traceback.format_exc()
            code = EXIT_DOES_NOT_FIT if kind == "out_of_memory" else EXIT_RUN_FAILED
        heartbeat.ending(kind, reason, code)
        print(said, file=sys.stderr, flush=True)
        step, wall_s = (telemetry.step, telemetry.wall_s()) if telemetry else (0, 0.0)
        if telemetry is not None and kind == "out_of_memory":
            telemetry.emit("warning", message=f"rank {self._place.rank} ran out of memory: {reason}"[:2000], hint="")
        if kind == "error" or not self._place.supervised:
            heartbeat.set_state("failed")
            if telemetry is not None:
                telemetry.close()
            if kind == "lost_peer":
                self._tell_of_the_lost(step, wall_s)
            else:
                self._end(reason, step=step, wall_s=wall_s, code=code)
        return code

    def lost(self, dead: int) -> None:
        """Another process is gone, and the training thread cannot say so: it waits for it."""
        if not self._place.supervised:
            self._tell_of_the_lost(0, 0.0)

    def _tell_of_the_lost(self, step: int, wall_s: float) -> None:
        """The ending, unless the one that died has written it."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while not (causes := self._causes()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        if any(beat.state != "running" for beat in causes):
            return
        who = ", ".join(f"rank {beat.rank} (pid {beat.pid}) died without a word" for beat in causes)
        self._end(who or "the connection between the processes broke", step=step, wall_s=wall_s, code=EXIT_RUN_FAILED)

    def _causes(self) -> list[RankBeat]:
        """Other processes that ended, for a reason that was not somebody else's death."""
        beats = read_beats(self._run_dir, attempt=self._place.attempt).values()
        others = [beat for beat in beats if beat.rank != self._place.rank and beat.rank < self._place.size]
        return [
            beat for beat in others if beat.state in ("error", "out_of_memory") or (beat.state == "running" and beat.is_dead)
        ]

    def _end(self, reason: str, *, step: int, wall_s: float, code: int) -> None:
        path = self._run_dir / "events" / f"rank{self._place.rank:05d}.jsonl"
        with EventWriter(path, rank=self._place.rank) as writer:
            writer.emit("run_end", step=step, state="failed", reason=reason[:2000], wall_s=wall_s, exit_code=code)
        status = read_status(self._run_dir)
        if status is not None and status.attempt == self._place.attempt and not self._place.supervised:
            write_status(self._run_dir, status.with_(state="failed", detail=reason[:500]))
