"""End a run's processes at once. Nothing is saved; the newest checkpoint stays what it is."""

from __future__ import annotations

import time

import psutil

from tuitrain.errors import UsageError
from tuitrain.events import SUPERVISOR_RANK, EventWriter
from tuitrain.files import exclusive_lock
from tuitrain.runs.attempts import KILL_MARK
from tuitrain.runs.heartbeats import read_beats
from tuitrain.runs.status import read_status, write_status
from tuitrain.runs.store import Run

WAIT_S = 10.0


def kill(run: Run) -> None:
    """SIGKILL to trainers and torchrun. The supervisor, or we where there is none, writes the ending."""
    status = read_status(run.path)
    if status is None or not run.liveness().alive:
        raise UsageError(f"{run.run_id} is not running ({run.liveness().text})", f"`tuitrain runs rm {run.run_id}` deletes it")
    (run.path / KILL_MARK).touch()
    supervisor = status.supervisor.process() if status.supervisor else None
    trainer = status.trainer.process() if status.trainer else None
    victims = supervisor.children(recursive=True) if supervisor else []
    ranks = [beat.process() for beat in read_beats(run.path, attempt=status.attempt).values()]
    victims += [each for each in (trainer, *ranks) if each is not None and each not in victims]
    for victim in reversed(victims):  # trainers before torchrun, so that nobody restarts or reports them
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(victims, timeout=WAIT_S)
    if supervisor is None:
        _write_ending(run)
        return
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s and run.liveness().alive:
        time.sleep(0.05)


def _write_ending(run: Run) -> None:
    with exclusive_lock(run.path / "run.lock", wait=True):
        step = run.fold().step
        with EventWriter(run.events_dir / "supervisor.jsonl", rank=SUPERVISOR_RANK) as writer:
            writer.emit("control_ack", step=step, id="", command="kill", ok=True, detail="the trainer was killed")
            writer.emit("run_end", step=step, state="killed", reason="killed on request")
        status = read_status(run.path)
        if status is not None:
            write_status(run.path, status.with_(state="killed", detail="killed on request"), durable=True)
