"""Several processes, and one of them dies, hangs or runs out of memory: done for real, to runs of two processes here.

Every test ends with the same question: is anything left of what was started?
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import support.runs
from support.attempts import attempt, losses, of_kind
from support.runs import tiny_run

from tuitrain.cli.telling import line_of
from tuitrain.errors import EXIT_DOES_NOT_FIT
from tuitrain.events import Event
from tuitrain.files import read_json
from tuitrain.runs.heartbeats import RankBeat, read_beat
from tuitrain.runs.kill import kill
from tuitrain.runs.launch import start
from tuitrain.runs.store import Run, rank_log

PATIENCE_S = 180.0
TWO = (
    "run.nproc=2", "run.max_restarts=1", "optim.kind=adamw", "optim.matrix_lr=auto", "eval.every_steps=0",
    "checkpoint.every_steps=10", "train.micro_batch=2", "run.seed=11",
)  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Makes prepared runs; whatever is still alive afterwards is killed."""
    made: list[Run] = []

    def make(*overrides: str, name: str = "two") -> Run:
        made.append(tiny_run(tmp_path / name, *TWO, *overrides))
        return made[-1]

    yield make
    for run in made:
        if run.liveness().alive:
            kill(run)


wait_for = functools.partial(support.runs.wait_for, patience_s=PATIENCE_S)


def ended(run: Run) -> bool:
    return not run.liveness().alive


def beat_of(run: Run, rank: int) -> RankBeat:
    """The heartbeat of a rank that trains."""
    wait_for(lambda: read_beat(run.path, rank), f"the heartbeat of rank {rank}", run)
    beat = read_beat(run.path, rank)
    while beat is None:  # it was being written
        beat = read_beat(run.path, rank)
    return beat


def processes_of(run: Run) -> list[psutil.Process]:
    """Everything that works on a run: all of it has the run's folder in its command line, or is below what has."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(run.path) in each for each in process.cmdline()):
                found.append(process)
                found += process.children(recursive=True)
    return found


def nothing_left(run: Run, *known: int) -> None:
    """No process of the run; of those known by number not even a zombie."""
    wait_for(lambda: not processes_of(run), "every process to be gone", run)
    assert not [pid for pid in known if psutil.pid_exists(pid)]


def only_attempt_end(run: Run) -> Event:
    ends = of_kind(run, "attempt_end")
    assert len(ends) == 1, [event.data for event in ends]
    return ends[0]


def test_a_killed_rank_is_named_and_the_run_goes_on_by_itself(runs: Callable[..., Run]) -> None:
    whole, run = runs("train.steps=40", name="whole"), runs("train.steps=40", name="killed")
    start(run)
    wait_for(run.checkpoint_steps, "a checkpoint", run)
    victim, other = beat_of(run, 1), beat_of(run, 0)
    os.kill(victim.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    wait_for(lambda: other.process() is None, "the other rank to leave", run)
    assert time.monotonic() - killed_s < 30
    wait_for(lambda: of_kind(run, "attempt_end"), "the cause", run)
    status = run.status()
    assert status is not None
    assert f"rank 1 (pid {victim.pid}) was killed (SIGKILL)" in status.detail
    wait_for(lambda: ended(run), "the end", run)

    end = only_attempt_end(run)
    assert end.data["reason"].startswith(f"rank 1 (pid {victim.pid}) was killed (SIGKILL)")
    assert (end.data["cause"], end.data["ended_rank"], end.data["pid"]) == ("killed", 1, victim.pid)
    assert (end.data["exit_code"], end.data["action"], end.data["restarts_left"]) == (-9, "restart", 0)
    assert end.data["log"] == "logs/rank00001.log"
    assert "rank 1" in str(line_of(end))
    assert of_kind(run, "run_start")[-1].data["resumed_from_step"] >= 10
    assert [event.data["state"] for event in of_kind(run, "run_end") if event.rank <= 0] == ["finished"]
    nothing_left(run, victim.pid, other.pid)
    assert sorted(run.rank_logs()) == [0, 1]
    first_line = rank_log(run.path, 1).read_text().splitlines()[0]
    assert first_line.startswith(f"tuitrain: rank 1, attempt 1 of {run.run_id}, pid {victim.pid}, ")

    start(whole)
    wait_for(lambda: ended(whole), "the untouched run", whole)
    assert run.fold().state == whole.fold().state == "finished"
    assert losses(run) == losses(whole)


@pytest.mark.slow
def test_a_suspended_rank_is_found_and_the_run_restarted(runs: Callable[..., Run]) -> None:
    run = runs("train.steps=300", "run.hang_timeout_s=6")
    start(run)
    wait_for(run.checkpoint_steps, "a checkpoint", run)
    victim, other = beat_of(run, 1), beat_of(run, 0)
    os.kill(victim.pid, signal.SIGSTOP)
    wait_for(lambda: of_kind(run, "attempt_end"), "the hang to be found", run)
    end = only_attempt_end(run)
    assert (end.data["cause"], end.data["ended_rank"], end.data["action"]) == ("hung", 1, "restart")
    assert "SIGSTOP" in end.data["reason"]
    for rank in (0, 1):
        stacks = (run.path / "stacks" / f"attempt-0001-rank{rank:05d}.txt").read_text()
        assert "trainer/loop.py" in stacks, stacks
    wait_for(lambda: len(of_kind(run, "run_start")) == 4, "the second attempt", run)
    assert victim.process() is None
    assert other.process() is None
    kill(run)
    nothing_left(run)


SPIN = """
import os, sys, threading, time
flag = os.environ["TEST_SPINS_WHILE"]

def watch():
    while not os.path.exists(flag) or "tuitrain.data.loader" not in sys.modules:
        time.sleep(0.02)
    from tuitrain.data.loader import Loader
    def spins_here(self, sequences):
        while os.path.exists(flag):
            pass
        raise AssertionError("the test is over")
    Loader.rows = spins_here

if os.environ.get("RANK") == "1":
    threading.Thread(target=watch, daemon=True).start()
"""
"""A sitecustomize for the trainers of one test: the data of rank 1 never comes, as from a disk that is gone."""


@pytest.fixture
def spin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data of rank 1 does not come while this file exists."""
    flag, folder = tmp_path / "spin", tmp_path / "double"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SPIN)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("TEST_SPINS_WHILE", str(flag))
    return flag


def test_a_rank_that_spins_is_named_and_the_run_restarted(runs: Callable[..., Run], spin: Path) -> None:
    run = runs("train.steps=300", "run.hang_timeout_s=6")
    start(run)
    wait_for(run.checkpoint_steps, "a checkpoint", run)
    spin.touch()
    wait_for(lambda: of_kind(run, "attempt_end"), "the hang to be found", run)
    spin.unlink()
    end = only_attempt_end(run)
    assert (end.data["cause"], end.data["ended_rank"], end.data["action"]) == ("hung", 1, "restart"), end.data
    assert "rank 0 waiting in gloo:" in end.data["reason"]
    assert "in train, step" in end.data["reason"]
    assert "spins_here" in (run.path / "stacks" / "attempt-0001-rank00001.txt").read_text()
    wait_for(lambda: len(of_kind(run, "run_start")) == 4, "the second attempt", run)
    kill(run)
    nothing_left(run)


@pytest.mark.slow
def test_one_that_cannot_notice_its_partners_death_leaves_all_the_same(runs: Callable[..., Run], spin: Path) -> None:
    """It never comes to a collective that would fail; all it gets is torchrun's SIGTERM, which else means: save and stop."""
    run = runs("train.steps=300", "run.max_restarts=0")
    start(run)
    wait_for(run.checkpoint_steps, "a checkpoint", run)
    spin.touch()
    spins, victim = beat_of(run, 1), beat_of(run, 0)
    time.sleep(2)
    os.kill(victim.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    wait_for(lambda: spins.process() is None, "the other rank to leave", run)
    assert time.monotonic() - killed_s < 10
    wait_for(lambda: ended(run), "the end", run)
    state = run.fold()
    assert state.state == "failed"
    assert state.end is not None
    assert state.end.data["reason"].startswith(f"rank 0 (pid {victim.pid}) was killed (SIGKILL)")
    assert "rank 0 is gone" in rank_log(run.path, 1).read_text()
    nothing_left(run, victim.pid, spins.pid)


WIDE = ("train.seq_len=256", "train.batch_tokens=4096", "model.hidden_size=64")
"""A step whose tensors are large enough to be asked of the kernel, one by one, under MALLOC_MMAP_THRESHOLD_."""


def starve(pid: int) -> None:
    """Let a process have nothing new from the kernel."""
    resource.prlimit(pid, resource.RLIMIT_AS, (psutil.Process(pid).memory_info().vms // 2, resource.RLIM_INFINITY))


def test_a_rank_out_of_memory_is_answered_by_a_smaller_micro_batch(
    runs: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    wide = (*WIDE, "train.micro_batch=8", "run.max_restarts=0", "train.steps=40", "checkpoint.every_steps=10")
    run = start(runs(*wide, name="starved"))
    wait_for(run.checkpoint_steps, "a checkpoint", run)
    victim = beat_of(run, 1)
    starve(victim.pid)
    wait_for(lambda: of_kind(run, "attempt_end") or ended(run), "the cause", run)
    end = only_attempt_end(run)
    assert (end.data["cause"], end.data["ended_rank"]) == ("out_of_memory", 1), end.data
    assert (end.data["action"], end.data["micro_batch"], end.data["restarts_left"]) == ("shrink", 4, 0)
    assert end.data["reason"].startswith(f"rank 1 (pid {victim.pid}) ran out of memory in train")
    wait_for(lambda: ended(run), "the end", run)

    assert run.fold().state == "finished", run.log_file.read_text()[-3000:]
    resolved = read_json(run.path / "resolved.json")
    assert resolved["config"]["train"]["micro_batch"] == 4
    why = next(each["reason"] for each in resolved["derived"] if each["key"] == "train.micro_batch")
    assert why == "rank 1 ran out of memory at 8 sequences; the global batch stays 4096 tokens"
    told = [event.data["message"] for event in of_kind(run, "warning")]
    assert any("micro-batch reduced from 8 to 4" in message for message in told)
    assert [event.data["micro_batch"] for event in of_kind(run, "run_start") if event.rank == 0] == [8, 4]
    nothing_left(run, victim.pid)

    alone = tiny_run(tmp_path / "alone", *TWO, *wide, "run.nproc=1")
    attempt(alone)
    assert losses(run) == pytest.approx(losses(alone), rel=1e-3)


@pytest.mark.slow
def test_out_of_memory_with_one_sequence_is_the_end_and_says_so(
    runs: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    run = runs(*WIDE, "train.micro_batch=1", "train.steps=500")
    start(run)
    wait_for(lambda: losses(run), "a step", run)
    starve(beat_of(run, 1).pid)
    wait_for(lambda: ended(run), "the end", run)
    state = run.fold()
    assert state.state == "failed"
    assert state.end is not None
    assert state.end.data["exit_code"] == EXIT_DOES_NOT_FIT
    assert "rank 1" in state.end.data["reason"]
    assert "ran out of memory" in state.end.data["reason"]
    assert "no micro-batch is smaller" in state.end.data["reason"]
    assert (only_attempt_end(run).data["action"], only_attempt_end(run).data["restarts_left"]) == ("end", 1)
    nothing_left(run)


@pytest.mark.slow
def test_the_users_own_torchrun_behaves_the_same(runs: Callable[..., Run]) -> None:
    run = runs("train.steps=40")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d",
        "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1", "-m", "tuitrain.trainer", str(run.path),
    ]  # fmt: skip
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(run.checkpoint_steps, "a checkpoint", run)
    victim = beat_of(run, 1)
    os.kill(victim.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    assert first.wait(timeout=60) == 1
    assert time.monotonic() - killed_s < 30
    state = run.fold()
    assert state.state == "failed"
    assert state.end is not None
    assert state.end.data["reason"] == f"rank 1 (pid {victim.pid}) died without a word"
    assert run.liveness().text == "failed"
    nothing_left(run, victim.pid)

    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert run.fold().state == "finished"
    starts = [event.data for event in of_kind(run, "run_start") if event.rank == 0]
    assert [event["attempt"] for event in starts] == [1, 2]
    assert starts[1]["resumed_from_step"] >= 10
