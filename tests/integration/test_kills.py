"""kill -9 at twenty random moments, several in the middle of a save: the run ends with the losses of one never touched."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from support.attempts import losses, of_kind
from support.runs import tiny_run

from tuitrain.runs.kill import kill
from tuitrain.runs.launch import start
from tuitrain.runs.store import Run

KILLS, DURING_A_SAVE = 20, 8
SIZE = ("train.steps=4000", "checkpoint.every_steps=20", "eval.every_steps=500", "model.hidden_size=64", "run.seed=7")
"""Many steps and many saves; wide enough that a save takes a moment."""
PATIENCE_S = 120.0


def trainer_pid(run: Run) -> int | None:
    """The living trainer, if there is one."""
    status = run.status()
    process = status.trainer.process() if status is not None and status.trainer is not None else None
    return process.pid if process is not None else None


def staging(run: Run) -> bool:
    """Whether a checkpoint is being written at this moment."""
    return any(run.checkpoints_dir.glob(".staging-*"))


def wait_until_dead(run: Run) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while run.liveness().alive:
        assert time.monotonic() < deadline, run.log_file.read_text()[-2000:]
        time.sleep(0.02)


def kill_once(run: Run, moment: random.Random, *, while_saving: bool) -> tuple[bool, bool]:
    """Start, wait for the moment, kill -9. Returns (killed, a half-written checkpoint was left behind)."""
    before = len(of_kind(run, "run_start"))
    start(run)
    deadline = time.monotonic() + PATIENCE_S
    while len(of_kind(run, "run_start")) == before and run.liveness().alive:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    due = time.monotonic() + moment.uniform(0.0, 2.0)
    while run.liveness().alive:
        pid = trainer_pid(run)
        if pid is not None and time.monotonic() >= due and (not while_saving or staging(run)):
            os.kill(pid, signal.SIGKILL)
            wait_until_dead(run)
            return True, staging(run)
        time.sleep(0.0 if while_saving else 0.01)
    return False, False


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_change_no_loss(tmp_path: Path) -> None:
    whole, run = tiny_run(tmp_path / "whole", *SIZE), tiny_run(tmp_path / "killed", *SIZE)
    moment, kills, torn = random.Random(20261124), 0, 0
    try:
        start(whole)
        wait_until_dead(whole)
        assert whole.fold().state == "finished", whole.log_file.read_text()[-2000:]
        for number in range(KILLS):
            killed, half_written = kill_once(run, moment, while_saving=number % 5 < 2)
            assert killed, f"the run ended before kill {number + 1}: give it more steps"
            kills, torn = kills + killed, torn + half_written
        start(run)
        wait_until_dead(run)
    finally:
        for each in (whole, run):
            if each.liveness().alive:
                kill(each)
    assert run.fold().state == "finished", run.log_file.read_text()[-2000:]
    assert (kills, torn >= DURING_A_SAVE // 2) == (KILLS, True)
    assert losses(run) == losses(whole)
    ends = [(one.fold().evals.last("loss"), one.checkpoint_steps()[-1]) for one in (whole, run)]
    assert ends[0] == ends[1]
    print(f"{kills} kills, {torn} of them left a half-written checkpoint; {len(losses(run))} steps agree to the bit")
