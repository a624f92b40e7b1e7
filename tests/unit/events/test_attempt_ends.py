"""Attempts that died: the state between two of them, and the list a dashboard shows."""

from __future__ import annotations

from typing import Any

from tuitrain.cli.telling import line_of
from tuitrain.events import Event, fold

DEATH = {
    "attempt": 1, "cause": "killed", "reason": "rank 1 (pid 7) was killed (SIGKILL)", "ended_rank": 1, "pid": 7,
    "exit_code": -9, "restarts_left": 0, "log": "logs/rank00001.log",
}  # fmt: skip


def event(t: int, kind: str, *, rank: int = 0, **data: Any) -> Event:
    return Event(seq=t, t_ns=t, rank=rank, step=3, kind=kind, data=data)


def death(t: int, action: str) -> Event:
    return event(t, "attempt_end", rank=-1, **DEATH, action=action)


def test_between_two_attempts_the_run_is_restarting() -> None:
    state = fold([event(1, "run_start", attempt=1), event(2, "phase", name="train"), death(3, "restart")])
    assert state.state == "restarting"
    assert not state.ended
    fold([event(4, "phase", name="model")], state)
    assert state.state == "model"
    assert [each.data["reason"] for each in state.attempt_ends] == [DEATH["reason"]]


def test_a_restart_outdates_the_failure_the_trainer_wrote() -> None:
    events = [event(1, "run_start", attempt=1), event(2, "run_end", rank=1, state="failed", reason="x"), death(3, "restart")]
    assert fold(events).state == "restarting"
    assert fold([events[2], events[0], events[1]]).state == "restarting"


def test_the_last_death_is_the_end() -> None:
    end = event(4, "run_end", rank=-1, state="failed", reason="x")
    assert fold([event(1, "run_start", attempt=1), event(2, "phase", name="train"), death(3, "end"), end]).state == "failed"


def test_a_death_in_words() -> None:
    told = line_of(death(3, "restart"))
    assert told == (
        "attempt 1 died: rank 1 (pid 7) was killed (SIGKILL) (log: logs/rank00001.log); "
        "starting again from the last good checkpoint, 0 restarts left"
    )
