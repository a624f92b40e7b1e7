"""Two real processes, one of them kept from the processor again and again: it is named, and what both take is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.runs import tiny_run

from tuitrain.events import EventReader
from tuitrain.runs.card import card
from tuitrain.runs.kill import kill
from tuitrain.runs.launch import start
from tuitrain.runs.store import Run
from tuitrain.tui.render.plain import summary

PATIENCE_S = 90.0
STOPPED_S, RUNNING_S = 0.06, 0.015
"""No step fits between two stops: each of them is held up."""
SLOW = 1


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Two processes, steps enough for several to be traced; whatever is alive afterwards is killed."""
    made = tiny_run(
        tmp_path, "run.nproc=2", "train.steps=30", "eval.every_steps=1000", "checkpoint.every_steps=0",
        "model.hidden_size=128", "train.seq_len=64", "train.batch_tokens=512",
        plan={"run": {"peak_bytes": 500_000_000}},
    )  # fmt: skip
    yield made
    if made.liveness().alive:
        kill(made)


def hold_back(pid: int, run: Run) -> None:
    """Stop and continue the process until the run has ended: four fifths of the time it stands."""
    deadline_s = time.monotonic() + PATIENCE_S
    with suppress(ProcessLookupError):
        while run.liveness().alive:
            assert time.monotonic() < deadline_s, run.log_file.read_text()[-3000:]
            for _ in range(5):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(STOPPED_S)
                os.kill(pid, signal.SIGCONT)
                time.sleep(RUNNING_S)
    while run.liveness().alive:
        assert time.monotonic() < deadline_s, run.log_file.read_text()[-3000:]
        time.sleep(0.05)


def test_the_rank_that_is_held_back_is_named(run: Run) -> None:
    start(run)
    reader, pid, deadline_s = EventReader(run.events_dir / f"rank{SLOW:05d}.jsonl"), None, time.monotonic() + PATIENCE_S
    while pid is None:
        pid = next((event.data["pid"] for event in reader.read() if event.kind == "run_start"), None)
        assert run.liveness().alive, run.log_file.read_text()[-3000:]
        assert time.monotonic() < deadline_s, run.log_file.read_text()[-3000:]
        time.sleep(0.005)
    hold_back(pid, run)
    state = run.fold()
    assert state.state == "finished", run.log_file.read_text()[-3000:]
    skew = state.skew
    assert skew is not None
    assert skew.notable, skew
    assert skew.slowest == SLOW, skew
    assert skew.caused_frac[SLOW] > 0.15, skew
    assert skew.wait_frac[SLOW] < skew.wait_frac[1 - SLOW], skew
    for rank in state.present_ranks:
        assert 0 < rank.communicating_frac() < 1
        assert rank.peak_bytes > 100e6
        assert rank.step == 30
    text = summary(state)
    assert f"rank {SLOW} is slowest: the others waited for it" in text
    assert "  rank 0 " in text
    assert "477 MiB" in text
    assert "communicating" in card(run.path)
    told = json.loads(
        subprocess.run(
            [sys.executable, "-m", "tuitrain", "runs", "show", str(run.path), "--json"], capture_output=True, check=True
        ).stdout
    )
    assert told["skew"]["slowest_rank"] == SLOW
    assert [each["planned_peak_bytes"] for each in told["ranks"]] == [500_000_000] * 2
    assert "USDT" not in run.log_file.read_text(), "the profiler keeps silent"
