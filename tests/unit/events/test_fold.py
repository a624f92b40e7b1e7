"""fold: the state of a run from its log, independent of how the files were interleaved."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuitrain.events import KINDS, Event, RunState, fold

_T0 = 1_700_000_000_000_000_000


class Log:
    """Builds events with rising times."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._seq: dict[int, int] = {}

    def add(self, kind: str, step: int = 0, rank: int = 0, **data: Any) -> Event:
        self._seq[rank] = self._seq.get(rank, 0) + 1
        event = Event(seq=self._seq[rank], t_ns=_T0 + len(self.events) * 1_000_000, rank=rank, step=step, kind=kind, data=data)
        self.events.append(event)
        return event

    def start(self, *, resumed_from: int = 0, total: int = 100, attempt: int = 1) -> None:
        self.add("run_start", resumed_from, attempt=attempt, resumed_from_step=resumed_from, total_steps=total)

    def steps(self, first: int, last: int, loss: float = 2.0) -> None:
        for step in range(first, last + 1):
            self.add("step", step, loss=loss / step, step_s=0.5, tokens_total=step * 64)


def test_a_run_from_start_to_end() -> None:
    log = Log()
    log.add("phase", name="data", detail="", done_frac=0.5)
    assert fold(log.events).state == "data"
    log.start(total=10)
    log.add("phase", name="train", detail="", done_frac=None)
    log.steps(1, 4)
    state = fold(log.events)
    assert (state.state, state.step, state.total_steps) == ("train", 4, 10)
    assert state.eta_s() == pytest.approx(3.0)
    log.steps(5, 10)
    log.add("run_end", 10, state="finished", reason="all done")
    state = fold(log.events)
    assert state.ended
    assert state.state == "finished"
    np.testing.assert_array_equal(state.steps.column("step"), np.arange(1, 11))


def test_resume_moves_the_abandoned_steps_aside() -> None:
    log = Log()
    log.start()
    log.steps(1, 7)
    log.add("eval", 6, loss=1.0, bits_per_byte=1.0)
    log.start(resumed_from=5, attempt=2)
    log.steps(6, 8, loss=3.0)
    state = fold(log.events)
    np.testing.assert_array_equal(state.steps.column("step"), np.arange(1, 9))
    assert state.steps.column("loss")[5] == pytest.approx(3.0 / 6)
    assert [list(branch["step"]) for branch in state.abandoned] == [[6.0, 7.0]]
    assert len(state.evals) == 0
    assert state.attempts == 2


def test_a_rollback_is_an_abandoned_branch_too() -> None:
    log = Log()
    log.start()
    log.steps(1, 7)
    log.add("guard", 7, reason="loss_spike", action="rollback", value=9.0, limit=3.0, rollback_to_step=5)
    log.steps(6, 6)
    state = fold(log.events)
    assert state.step == 6
    assert len(state.notes) == 1
    assert list(state.abandoned[0]["step"]) == [6.0, 7.0]


def test_a_new_attempt_outdates_the_old_ending() -> None:
    log = Log()
    log.start()
    log.add("run_end", 3, state="stopped", reason="on request")
    assert fold(log.events).ended
    log.add("phase", name="data", detail="", done_frac=None)
    state = fold(log.events)
    assert not state.ended
    assert state.state == "data"


def test_the_order_of_files_does_not_matter() -> None:
    log = Log()
    log.start()
    log.steps(1, 3)
    for step in range(1, 4):
        log.add("step", step, rank=1, loss=9.0, step_s=0.7)
    log.add("run_end", 3, rank=-1, state="failed", reason="killed")
    by_rank = [[event for event in log.events if event.rank == rank] for rank in (0, 1, -1)]
    states = [fold(itertools.chain(*order)) for order in itertools.permutations(by_rank)]
    assert {state.state for state in states} == {"failed"}
    assert {state.step for state in states} == {3}
    assert all(state.ranks[1].step_s == 0.7 for state in states)
    assert all(state.steps.last("loss") == pytest.approx(2 / 3) for state in states)


def test_folding_in_pieces_is_folding_at_once() -> None:
    log = Log()
    log.start()
    log.steps(1, 50)
    log.start(resumed_from=20, attempt=2)
    log.steps(21, 60)
    whole, pieces = fold(log.events), RunState()
    for event in log.events:
        fold([event], pieces)
    for name in ("step", "loss", "step_s", "tokens_total"):
        np.testing.assert_array_equal(whole.steps.column(name), pieces.steps.column(name))


def test_unknown_kinds_are_skipped() -> None:
    log = Log()
    log.start()
    log.add("telepathy", 1, thought="x")
    assert fold(log.events).attempts == 1


def test_a_corrected_length_counts() -> None:
    log = Log()
    log.start(total=100)
    log.add("length", 40, total_steps=130, reason="pace")
    assert fold(log.events).total_steps == 130


def test_fields_are_only_ever_added() -> None:
    """The fixture is the vocabulary as first published; a field may join, none may leave."""
    fixture = json.loads((Path(__file__).parent / "kinds_v1.json").read_text())
    for kind, fields in fixture.items():
        assert set(fields) <= set(KINDS[kind]), f"{kind} lost fields"
