"""Liveness: what is said of a run's processes is what can be known of them, never more."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tuitrain.runs.status import ProcessId, Status, format_age, liveness, read_status, write_status

NOW_S = 4_000_000_000.0
DEAD = ProcessId(pid=2**22 - 5, start_time_s=1.0)


def status(**changes: object) -> Status:
    base = Status(
        state="running", host=socket.gethostname(), attempt=1, supervisor=ProcessId.current(), trainer=ProcessId.current(),
        heartbeat_s=NOW_S - 1, progress_s=NOW_S - 1,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


@pytest.mark.parametrize(
    ("changes", "alive", "stale", "text"),
    [
        ({}, True, False, "running"),
        ({"state": "paused", "progress_s": NOW_S - 9999}, True, False, "paused"),
        ({"heartbeat_s": NOW_S - 130}, True, True, "no heartbeat for 2 m 10 s"),
        ({"progress_s": NOW_S - 400}, True, True, "alive, but no progress for 6 m 40 s"),
        (
            {"supervisor": DEAD, "trainer": DEAD, "heartbeat_s": NOW_S - 70},
            False,
            True,
            "its processes are gone; last heartbeat 1 m 10 s ago",
        ),
        (
            {"supervisor": None, "trainer": None, "heartbeat_s": NOW_S - 5},
            False,
            True,
            "its processes are gone; last heartbeat 5 s ago",
        ),
        ({"state": "finished"}, True, False, "finished"),
        ({"state": "finished", "supervisor": DEAD, "trainer": DEAD}, False, False, "finished"),
        ({"host": "elsewhere"}, True, False, "runs on elsewhere; last heartbeat 1 s ago"),
        ({"host": "elsewhere", "heartbeat_s": NOW_S - 3900}, False, True, "runs on elsewhere; last heartbeat 1 h 05 m ago"),
        ({"host": "elsewhere", "state": "stopped"}, False, False, "stopped"),
    ],
)
def test_what_is_said(changes: dict, alive: bool, stale: bool, text: str) -> None:
    # The supervisor of these is the test itself, whose start would count as having been heard of.
    old = dataclasses.replace(ProcessId.current(), start_time_s=ProcessId.current().start_time_s)
    assert old.process() is not None
    result = liveness(status(**changes), NOW_S)
    assert (result.alive, result.stale, result.text) == (alive, stale, text)


def test_nothing_is_known_of_what_was_never_started() -> None:
    assert liveness(None).text == "never started"


def test_a_pid_that_was_given_to_another_process_is_not_ours() -> None:
    mine = ProcessId.current()
    assert mine.process() is not None
    assert dataclasses.replace(mine, start_time_s=mine.start_time_s - 100).process() is None


def test_a_zombie_is_not_alive() -> None:
    import psutil

    child = subprocess.Popen([sys.executable, "-c", "pass"])
    pid = ProcessId(pid=child.pid, start_time_s=psutil.Process(child.pid).create_time())
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert pid.process() is None
    child.wait()


def test_the_file_round_trips_and_rubbish_is_no_status(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    write_status(tmp_path, status(detail="x"))
    assert read_status(tmp_path) == status(detail="x")
    (tmp_path / "status.json").write_text('{"state": "running"')
    assert read_status(tmp_path) is None
    (tmp_path / "status.json").write_text('{"state": "running"}')
    assert read_status(tmp_path) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 m 00 s"), (3599, "59 m 59 s"), (3661, "1 h 01 m"), (200_000, "2 d 7 h"), (-5, "0 s")],
)
def test_ages(seconds: float, text: str) -> None:
    assert format_age(seconds) == text
