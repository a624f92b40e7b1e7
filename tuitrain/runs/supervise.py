"""The supervisor: a small process, in a session of its own, that starts torchrun, waits, and says how it ended.

It is what makes a run independent of terminals: nobody else waits for the trainer, and its output goes to a file. It restarts a
trainer that died, as often as `run.max_restarts` allows, and it is the one that speaks when the trainer no longer can.

    python -m tuitrain.runs.supervise RUN_DIR
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from tuitrain.errors import EXIT_OK, EXIT_RUN_FAILED
from tuitrain.events import ENDED, SUPERVISOR_RANK, EventWriter, fold, read_events
from tuitrain.files import exclusive_lock
from tuitrain.runs.status import ProcessId, Status, read_status, write_status
from tuitrain.runs.torchrun import torchrun_command, trainer_environment

KILL_MARK = "killed-by-user"


def main(run_dir: Path) -> int:
    """Start the trainer of `run_dir` and stay until it is over. Returns the exit code of the run."""
    with exclusive_lock(run_dir / "run.lock", wait=False) as free:
        if not free:
            print(f"{run_dir.name}: another supervisor is at work", file=sys.stderr)
            return EXIT_RUN_FAILED
        (run_dir / KILL_MARK).unlink(missing_ok=True)
        return _supervise(run_dir)


def _supervise(run_dir: Path) -> int:
    from tuitrain.files import read_json

    resolved = read_json(run_dir / "resolved.json")
    config = resolved["config"]["run"]
    previous = read_status(run_dir)
    attempt = previous.attempt if previous else 0
    restarts_left = int(config["max_restarts"])
    while True:
        attempt += 1
        code = _attempt(run_dir, nproc=int(config["nproc"]), attempt=attempt)
        ended = _how_it_ended(run_dir, attempt, code)
        if ended in ("finished", "stopped"):
            return EXIT_OK
        if ended == "killed" or restarts_left == 0:
            return code or EXIT_RUN_FAILED
        restarts_left -= 1
        print(f"tuitrain: restarting from the last good checkpoint ({restarts_left} restarts left)", flush=True)


def _attempt(run_dir: Path, *, nproc: int, attempt: int) -> int:
    """One torchrun from start to end; returns its exit code, negative for a signal."""
    status = Status(state="starting", host=socket.gethostname(), attempt=attempt, supervisor=ProcessId.current())
    write_status(run_dir, status, durable=True)
    print(f"tuitrain: attempt {attempt} of {run_dir.name}, {time.strftime('%Y-%m-%d %H:%M:%S')}", flush=True)
    child = subprocess.Popen(
        torchrun_command(run_dir, nproc=nproc), env=trainer_environment(os.environ, attempt=attempt), cwd=run_dir
    )

    def forward(signum: int, frame: FrameType | None) -> None:
        """SIGTERM and SIGINT to the supervisor mean: save and stop. The trainers are told, the agent waits for them."""
        for pid in _trainer_pids(child.pid):
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    return child.wait()


def _trainer_pids(agent_pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(agent_pid).children(recursive=False)]
    except psutil.Error:
        return []


def _how_it_ended(run_dir: Path, attempt: int, code: int) -> str:
    """The state the trainer wrote; when it died without a word, write it in its place."""
    state = fold(read_events(run_dir / "events"))
    said = str(state.end.data.get("state")) if state.end is not None and state.ended else ""
    killed = (run_dir / KILL_MARK).exists()
    if said in ENDED and not killed:
        _finish(run_dir, said, str(state.end.data.get("reason", "")) if state.end else "")
        return said
    ended = "killed" if killed else "failed"
    reason = "killed on request" if killed else _explain(code, run_dir)
    with EventWriter(run_dir / "events" / "supervisor.jsonl", rank=SUPERVISOR_RANK) as writer:
        if killed:
            writer.emit(
                "control_ack", step=state.step, id="", command="kill", ok=True, detail="trainer and torchrun were killed"
            )
        writer.emit("run_end", step=state.step, state=ended, reason=reason, exit_code=code)
    _finish(run_dir, ended, reason)
    return ended


def _finish(run_dir: Path, state: str, detail: str) -> None:
    status = read_status(run_dir)
    assert status is not None, f"{run_dir}: the supervisor wrote a status before it started anything"
    write_status(run_dir, status.with_(state=state, detail=detail), durable=True)


def _explain(code: int, run_dir: Path) -> str:
    """Why a trainer died, from its exit code and the tail of its log."""
    tail = _log_tail(run_dir / "train.log")
    if code < 0:
        return f"torchrun was ended by {signal.Signals(-code).name}"
    for name, meaning in (
        ("SIGKILL", "a trainer was killed (SIGKILL): by somebody, or by the kernel for want of memory"),
        ("SIGSEGV", "a trainer crashed (SIGSEGV)"),
        ("SIGABRT", "a trainer aborted (SIGABRT)"),
        ("SIGBUS", "a trainer crashed (SIGBUS): often a full disk or /dev/shm"),
    ):
        if name in tail or f"exitcode: -{int(signal.Signals[name])}" in tail:
            return meaning
    return f"the trainer exited with code {code}; see train.log"


def _log_tail(path: Path, size: int = 16_384) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
