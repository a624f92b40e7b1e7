"""Who is stuck: heartbeats written by hand, on a clock that the test moves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from tuitrain.runs import watchdog
from tuitrain.runs.heartbeats import RankBeat, forget_beats, open_beat, read_beat, read_beats, write_beat
from tuitrain.runs.watchdog import Hang, Watchdog


class Scene:
    """A run of two processes, and time."""

    def __init__(self, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run_dir, self.now_s = run_dir, 1000.0
        monkeypatch.setattr(watchdog.time, "monotonic", lambda: self.now_s)
        self.suspended: set[int] = set()
        monkeypatch.setattr(watchdog, "is_suspended", lambda process: bool(self.suspended and process in self.suspended))
        monkeypatch.setattr(RankBeat, "process", lambda beat: beat.rank)
        self.dog = Watchdog(run_dir, attempt=1, nproc=2, timeout_s=60)

    def beat(self, rank: int, *, alive: bool = True, moves: bool = True, **facts: Any) -> None:
        before = read_beat(self.run_dir, rank)
        fd = open_beat(self.run_dir, rank)
        write_beat(
            fd,
            RankBeat(
                rank=rank, attempt=1, pid=100 + rank, start_time_s=0, host="here", step=5,
                heartbeat_s=self.now_s if alive or before is None else before.heartbeat_s,
                progress_s=self.now_s if moves or before is None else before.progress_s,
                **({"phase": "train"} | facts),
            ),
        )  # fmt: skip
        os.close(fd)

    def watch(self, seconds: int, *beats: dict[str, Any]) -> Hang | None:
        for _ in range(seconds):
            self.now_s += 1
            for facts in beats:
                self.beat(**facts)
            if (hang := self.dog.look()) is not None:
                return hang
        return None


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_the_one_that_has_not_reached_the_collective_is_stuck(scene: Scene) -> None:
    waits = {"rank": 0, "moves": False, "reached": {"0": 8}, "waiting_in": "gloo:all_reduce"}
    spins = {"rank": 1, "moves": False, "reached": {"0": 7}, "waiting_in": "gloo:all_gather"}
    assert scene.watch(60, waits, spins) is None
    hang = scene.watch(3, waits, spins)
    assert hang is not None
    assert hang.ranks == (1,)
    assert hang.reason == ("rank 1 (pid 101) made no progress for 61 s in train, step 5; rank 0 waiting in gloo:all_reduce")


def test_waiting_for_one_that_works_is_no_hang(scene: Scene) -> None:
    assert scene.watch(600, {"rank": 0}, {"rank": 1, "moves": False, "reached": {"0": 8}}) is None


def test_a_suspended_process_is_found_by_its_silence(scene: Scene) -> None:
    scene.suspended = {1}
    hang = scene.watch(40, {"rank": 0}, {"rank": 1, "alive": False, "moves": False})
    assert hang is not None
    assert hang.ranks == (1,)
    assert hang.reason == "rank 1 (pid 101) gave no sign of life for 31 s: suspended (SIGSTOP)"


def test_a_run_that_was_suspended_as_a_whole_is_left_alone(scene: Scene) -> None:
    scene.suspended = {0, 1}
    still = {"alive": False, "moves": False}
    assert scene.watch(600, {"rank": 0, **still}, {"rank": 1, **still}) is None


def test_a_night_asleep_is_no_hang(scene: Scene) -> None:
    scene.watch(2, {"rank": 0}, {"rank": 1})
    scene.now_s += 8 * 3600
    assert scene.dog.look() is None
    assert scene.watch(50, {"rank": 0, "moves": False}, {"rank": 1, "moves": False}) is None


def test_where_nobody_is_behind_nobody_is_blamed(scene: Scene) -> None:
    waits = {"moves": False, "reached": {"0": 8}, "waiting_in": "gloo:barrier"}
    hang = scene.watch(70, {"rank": 0, **waits}, {"rank": 1, **waits})
    assert hang is not None
    assert hang.ranks == ()
    assert hang.reason == "no progress for 61 s: all wait in gloo:barrier"


def test_the_start_is_given_more_time(scene: Scene) -> None:
    starting = {"moves": False, "phase": "start"}
    assert scene.watch(290, {"rank": 0, **starting}, {"rank": 1, **starting}) is None
    assert scene.watch(20, {"rank": 0, **starting}, {"rank": 1, **starting}) is not None


def test_one_that_never_began_is_named(scene: Scene) -> None:
    hang = scene.watch(310, {"rank": 0, "moves": False})
    assert hang is not None
    assert hang.ranks == (1,)
    assert "rank 1 never began" in hang.reason


def test_beats_are_written_in_place_and_half_written_ones_are_not_there(tmp_path: Path) -> None:
    fd = open_beat(tmp_path, 3)
    mine = psutil.Process()
    me = RankBeat(
        rank=3, attempt=2, pid=mine.pid, start_time_s=mine.create_time(), host="here", heartbeat_s=1.0, progress_s=2.0,
        message="m" * 10_000, reached={f"group {number}": number for number in range(500)},
    )  # fmt: skip
    write_beat(fd, me)
    os.close(fd)
    path = tmp_path / "heartbeats" / "rank00003.json"
    assert path.stat().st_size == 4096
    found = read_beat(tmp_path, 3)
    assert found is not None
    assert (found.pid, found.attempt, found.reached) == (me.pid, 2, {})
    assert found.process() is not None
    assert not found.is_dead
    assert read_beats(tmp_path, attempt=1) == {}
    path.write_text(path.read_text()[:50])
    assert read_beat(tmp_path, 3) is None
    forget_beats(tmp_path)
    assert read_beats(tmp_path) == {}
