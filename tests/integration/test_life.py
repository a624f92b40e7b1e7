"""The life of a run, with real processes: started, watched, steered, stopped, killed, resumed. Nothing here is simulated."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import support.runs
from support.attempts import losses, of_kind
from support.runs import tiny_run

from tuitrain.errors import UsageError
from tuitrain.events import Event, read_events
from tuitrain.runs.control import send
from tuitrain.runs.kill import kill
from tuitrain.runs.launch import start
from tuitrain.runs.store import Run, RunStore

PATIENCE_S = 120.0


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Makes prepared runs; whatever is still alive afterwards is killed."""
    made: list[Run] = []

    def make(*overrides: str, name: str = "life") -> Run:
        made.append(tiny_run(tmp_path / name, *overrides))
        return made[-1]

    yield make
    for run in made:
        if run.liveness().alive:
            kill(run)


wait_for = functools.partial(support.runs.wait_for, patience_s=PATIENCE_S)


def steps_done(run: Run) -> int:
    return max(losses(run), default=0)


def ended(run: Run) -> bool:
    return not run.liveness().alive


def acknowledgement(run: Run, request_id: str) -> Event | None:
    return next((event for event in of_kind(run, "control_ack") if event.data["id"] == request_id), None)


def ask(run: Run, command: str) -> Event:
    request = send(run.control_file, command)  # type: ignore[arg-type]
    wait_for(lambda: acknowledgement(run, request.id), f"the acknowledgement of {command}", run)
    event = acknowledgement(run, request.id)
    assert event is not None
    return event


LONG = ("train.steps=100000", "eval.every_steps=0", "checkpoint.every_steps=0")


def test_started_steered_and_resumed_from_any_terminal(runs: Callable[..., Run]) -> None:
    run = start(runs(*LONG))
    wait_for(lambda: steps_done(run) >= 3, "three steps", run)
    with pytest.raises(UsageError, match="already running"):
        start(run)

    saved = ask(run, "save")
    assert saved.data["ok"]
    assert run.checkpoint_steps()[-1] == saved.step

    paused = ask(run, "pause")
    wait_for(lambda: run.fold().state == "paused", "the paused state", run)
    standing = steps_done(run)
    assert standing == paused.step
    status = run.status()
    assert status is not None
    assert status.state == "paused"
    time.sleep(0.5)
    assert steps_done(run) == standing
    ask(run, "resume")
    wait_for(lambda: steps_done(run) > standing, "steps after resuming", run)

    stopped = ask(run, "stop")
    wait_for(lambda: ended(run), "the end", run)
    state = run.fold()
    assert state.state == "stopped"
    assert run.checkpoint_steps()[-1] == stopped.step == state.step
    assert run.liveness().text == "stopped"

    start(run)
    wait_for(lambda: steps_done(run) > stopped.step, "steps after the second start", run)
    assert of_kind(run, "run_start")[-1].data["resumed_from_step"] == stopped.step
    assert of_kind(run, "run_start")[-1].data["attempt"] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor_means_save_and_stop(runs: Callable[..., Run], number: signal.Signals) -> None:
    run = start(runs(*LONG))
    wait_for(lambda: steps_done(run) >= 2, "two steps", run)
    status = run.status()
    assert status is not None
    assert status.supervisor is not None
    os.kill(status.supervisor.pid, number)
    wait_for(lambda: ended(run), "the end", run)
    state = run.fold()
    assert state.state == "stopped"
    assert "SIG" in str(state.end.data["reason"])
    assert run.checkpoint_steps()[-1] == state.step


def test_a_signal_to_the_trainer_means_save_and_stop(runs: Callable[..., Run]) -> None:
    run = start(runs(*LONG))
    wait_for(lambda: steps_done(run) >= 2, "two steps", run)
    status = run.status()
    assert status is not None
    assert status.trainer is not None
    os.kill(status.trainer.pid, signal.SIGTERM)
    wait_for(lambda: ended(run), "the end", run)
    assert run.fold().state == "stopped"
    assert run.checkpoint_steps()


def test_an_orphaned_trainer_saves_and_stops(runs: Callable[..., Run]) -> None:
    """kill -9 of torchrun: its workers would go on for ever, unwatched."""
    run = start(runs(*LONG))
    wait_for(lambda: steps_done(run) >= 2, "two steps", run)
    status = run.status()
    assert status is not None
    assert status.trainer is not None
    trainer = psutil.Process(status.trainer.pid)
    agent = trainer.parent()
    assert agent is not None
    assert "torch.distributed.run" in " ".join(agent.cmdline())
    agent.kill()
    wait_for(lambda: not trainer.is_running(), "the trainer's end", run)
    wait_for(lambda: ended(run), "the end", run)
    assert run.checkpoint_steps()


def test_killing_the_terminal_leaves_the_run_alive(runs: Callable[..., Run], tmp_path: Path) -> None:
    run = runs(*LONG)
    code = (
        "import time; from pathlib import Path; from tuitrain.runs.store import Run; from tuitrain.runs.launch import start;"
        f"start(Run(Path({str(run.path)!r}))); print('started', flush=True); time.sleep(600)"
    )
    terminal = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert terminal.stdout is not None
    assert terminal.stdout.readline() == b"started\n"
    os.killpg(terminal.pid, signal.SIGHUP)
    os.killpg(terminal.pid, signal.SIGKILL)
    terminal.wait()
    terminal.stdout.close()
    wait_for(lambda: steps_done(run) >= 2, "steps after the terminal died", run)
    before = steps_done(run)
    wait_for(lambda: steps_done(run) > before, "more steps", run)
    status = run.status()
    assert status is not None
    assert status.trainer is not None
    assert os.getsid(status.trainer.pid) != os.getsid(0)


def test_kill_ends_it_at_once_and_says_so(runs: Callable[..., Run]) -> None:
    run = start(runs(*LONG, "run.max_restarts=3"))
    wait_for(lambda: steps_done(run) >= 2, "two steps", run)
    status = run.status()
    kill(run)
    assert ended(run)
    state = run.fold()
    assert state.state == "killed"
    assert [event.data["command"] for event in of_kind(run, "control_ack")] == ["kill"]
    assert status is not None
    assert status.trainer is not None
    assert status.trainer.process() is None
    with pytest.raises(UsageError, match="not running"):
        kill(run)
    RunStore(run.path.parent).remove(run)
    assert not run.path.exists()


def test_a_killed_trainer_is_told_with_its_reason_and_resumes(runs: Callable[..., Run]) -> None:
    whole, run = runs("train.steps=12", name="whole"), runs("train.steps=12", "checkpoint.every_steps=4", name="killed")
    start(whole)
    start(run)
    wait_for(lambda: 4 in run.checkpoint_steps() or ended(run), "a checkpoint", run)
    status = run.status()
    if status is not None and status.trainer is not None and not ended(run):
        os.kill(status.trainer.pid, signal.SIGKILL)
    wait_for(lambda: ended(run), "the end", run)
    if run.fold().state == "failed":  # else it was finished before the kill
        assert "SIGKILL" in str(run.fold().end.data["reason"])
        start(run)
        wait_for(lambda: run.fold().state == "finished", "the second attempt", run)
    wait_for(lambda: ended(whole), "the uninterrupted run", whole)
    assert losses(run) == losses(whole)


def test_a_dead_trainer_is_restarted_when_the_run_allows_it(runs: Callable[..., Run]) -> None:
    run = start(runs("train.steps=400", "checkpoint.every_steps=5", "run.max_restarts=2"))
    wait_for(run.checkpoint_steps, "a checkpoint", run)
    status = run.status()
    assert status is not None
    assert status.trainer is not None
    os.kill(status.trainer.pid, signal.SIGKILL)
    wait_for(lambda: len(of_kind(run, "run_start")) == 2, "the second attempt", run)
    assert of_kind(run, "run_start")[-1].data["resumed_from_step"] >= 5
    ask(run, "stop")


def test_a_run_that_cannot_start_says_why(runs: Callable[..., Run], tmp_path: Path) -> None:
    run = runs("train.steps=2")
    for file in (tmp_path / "life" / "corpus").iterdir():
        file.unlink()
    start(run)
    wait_for(lambda: ended(run), "the end", run)
    state = run.fold()
    assert state.state == "failed"
    assert "no " in str(state.end.data["reason"])
    assert run.liveness().text == "failed"


def test_two_processes_train_as_one_through_the_launcher(runs: Callable[..., Run]) -> None:
    one, two = (
        runs("train.steps=6", "optim.kind=adamw", "optim.matrix_lr=auto", name="one"),
        runs("train.steps=6", "optim.kind=adamw", "optim.matrix_lr=auto", "run.nproc=2", name="two"),
    )
    for run in (one, two):
        start(run)
        wait_for(lambda run=run: ended(run), "the end", run)
        assert run.fold().state == "finished", run.log_file.read_text()[-2000:]
    for step, loss in losses(one).items():
        assert losses(two)[step] == pytest.approx(loss, rel=1e-4)
    assert {event.rank for event in read_events(two.events_dir)} == {0, 1}


def test_an_old_request_is_not_obeyed_by_a_new_attempt(runs: Callable[..., Run]) -> None:
    run = runs("train.steps=3")
    send(run.control_file, "stop")
    start(run)
    wait_for(lambda: ended(run), "the end", run)
    assert run.fold().state == "finished"
