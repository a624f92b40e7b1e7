"""The supervisor: a small process, in a session of its own, that starts torchrun, watches, and says how it ended.

It is what makes a run independent of terminals: nobody else waits for the trainer, and its output goes to a file. It restarts a
trainer that died or hung, as often as `run.max_restarts` allows, answers want of memory by a smaller micro-batch, and it is the
one that speaks when the trainer no longer can.

    python -m tuitrain.runs.supervise RUN_DIR
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tuitrain.errors import EXIT_DOES_NOT_FIT, EXIT_ENVIRONMENT, EXIT_OK, EXIT_RUN_FAILED, EXIT_USAGE
from tuitrain.events import SUPERVISOR_RANK, EventWriter, fold, read_events
from tuitrain.files import exclusive_lock, read_json
from tuitrain.runs.attempts import KILL_MARK, Attempt, run_attempt
from tuitrain.runs.processes import adopt_orphans
from tuitrain.runs.shrink import Shrunk, shrink_micro_batch
from tuitrain.runs.status import read_status, write_status
from tuitrain.runs.store import rank_log

_SAME_AGAIN = (EXIT_USAGE, EXIT_DOES_NOT_FIT, EXIT_ENVIRONMENT)
"""Exit codes of what a restart would only meet again."""


def main(run_dir: Path) -> int:
    """Start the trainer of `run_dir` and stay until it is over. Returns the exit code of the run."""
    with exclusive_lock(run_dir / "run.lock", wait=False) as free:
        if not free:
            print(f"{run_dir.name}: another supervisor is at work", file=sys.stderr)
            return EXIT_RUN_FAILED
        (run_dir / KILL_MARK).unlink(missing_ok=True)
        adopt_orphans()
        return Supervisor(run_dir).run()


class Supervisor:
    """Attempt after attempt, until the run is over."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._config = read_json(run_dir / "resolved.json")["config"]["run"]
        self._restarts_left = int(self._config["max_restarts"])
        self._step = 0
        """The last step the trainers have told of."""

    def run(self) -> int:
        """Returns the exit code of the run."""
        previous = read_status(self._run_dir)
        number, detail = previous.attempt if previous else 0, ""
        while True:
            number += 1
            attempt = run_attempt(
                self._run_dir,
                nproc=int(self._config["nproc"]),
                number=number,
                hang_timeout_s=float(self._config["hang_timeout_s"]),
                detail=detail,
            )
            code = self._judge(attempt)
            if code is not None:
                return code
            detail = _epitaph(attempt)

    def _judge(self, attempt: Attempt) -> int | None:
        """The run's exit code where it is over; None for another attempt."""
        self._step = fold(read_events(self._run_dir / "events")).step
        if (self._run_dir / KILL_MARK).exists():
            return self._killed(attempt)
        torchrun_died = attempt.code < 0 and attempt.cause.kind == "killed"
        if attempt.state == "finished" or (attempt.state == "stopped" and not (torchrun_died and self._may_restart(attempt))):
            self._set_status(attempt.state, str(attempt.said.data.get("reason", "")) if attempt.said else "")
            return EXIT_OK
        if attempt.cause.kind == "out_of_memory" and not attempt.asked_to_stop:
            shrunk = shrink_micro_batch(self._run_dir, attempt.cause)
            if shrunk is None:
                return self._nothing_smaller(attempt)
            self._smaller(attempt, shrunk)
            return None
        if self._may_restart(attempt):
            self._restarts_left -= 1
            self._died(attempt, "restart")
            print(f"tuitrain: restarting from the last good checkpoint ({self._restarts_left} restarts left)", flush=True)
            return None
        return self._failed(attempt, attempt.cause.reason, _exit_code(attempt))

    def _may_restart(self, attempt: Attempt) -> bool:
        return self._restarts_left > 0 and not attempt.asked_to_stop and _exit_code(attempt) not in _SAME_AGAIN

    def _smaller(self, attempt: Attempt, shrunk: Shrunk) -> None:
        """Want of memory is no fault of the run: it costs no restart, and can happen only as often as something is smaller."""
        self._died(attempt, "shrink", micro_batch=shrunk.after)
        message = f"micro-batch reduced from {shrunk.before} to {shrunk.after}: {attempt.cause.reason}"
        self._emit("warning", message=message, hint=shrunk.reason)
        print(f"tuitrain: {message}", flush=True)

    def _nothing_smaller(self, attempt: Attempt) -> int:
        reason = f"{attempt.cause.reason}; no micro-batch is smaller"
        hint = "train.recompute=full, a higher parallel.zero, a shorter train.seq_len, or a smaller model"
        self._emit("warning", message=reason, hint=hint)
        return self._failed(attempt, f"{reason} ({hint})", EXIT_DOES_NOT_FIT)

    def _failed(self, attempt: Attempt, reason: str, code: int) -> int:
        """The last attempt died. What the trainer itself said of it stands."""
        self._died(attempt, "end")
        if attempt.state != "failed":
            self._emit("run_end", state="failed", reason=reason + self._where_to_look(attempt), exit_code=code)
        else:
            reason = str(attempt.said.data.get("reason", reason)) if attempt.said else reason
        self._set_status("failed", reason)
        return code

    def _killed(self, attempt: Attempt) -> int:
        reason = "killed on request"
        self._emit("control_ack", id="", command="kill", ok=True, detail="trainer and torchrun were killed")
        self._emit("run_end", state="killed", reason=reason, exit_code=attempt.code)
        self._set_status("killed", reason)
        return attempt.code or EXIT_RUN_FAILED

    def _died(self, attempt: Attempt, action: str, **more: Any) -> None:
        stacks = {"stacks": "stacks"} if attempt.stacks else {}
        if action != "end":
            self._set_status("starting", _epitaph(attempt))
        self._emit(
            "attempt_end", attempt=attempt.number, action=action, restarts_left=self._restarts_left,
            log=self._log_of(attempt), **attempt.cause.facts(), **stacks, **more,
        )  # fmt: skip
        if action == "restart":
            self._emit("warning", message=_epitaph(attempt),
                       hint=f"starting again from the last good checkpoint{self._where_to_look(attempt)}")  # fmt: skip
        print(f"tuitrain: {_epitaph(attempt)}{self._where_to_look(attempt)}", flush=True)

    def _log_of(self, attempt: Attempt) -> str:
        return rank_log(self._run_dir, attempt.cause.rank or 0).relative_to(self._run_dir).as_posix()

    def _where_to_look(self, attempt: Attempt) -> str:
        stacks = ", and stacks/ for where every process was" if attempt.stacks else ""
        return f"; see {self._log_of(attempt)}{stacks}"

    def _emit(self, kind: str, **data: Any) -> None:
        with EventWriter(self._run_dir / "events" / "supervisor.jsonl", rank=SUPERVISOR_RANK) as writer:
            writer.emit(kind, step=self._step, **data)

    def _set_status(self, state: str, detail: str) -> None:
        status = read_status(self._run_dir)
        assert status is not None, f"{self._run_dir}: the supervisor wrote a status before it started anything"
        write_status(self._run_dir, status.with_(state=state, detail=detail), durable=True)


def _epitaph(attempt: Attempt) -> str:
    return f"attempt {attempt.number} died: {attempt.cause.reason}"


def _exit_code(attempt: Attempt) -> int:
    """What the trainer said, else torchrun's."""
    said = attempt.said.data.get("exit_code") if attempt.said is not None else None
    return int(said) if said else attempt.code or EXIT_RUN_FAILED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
