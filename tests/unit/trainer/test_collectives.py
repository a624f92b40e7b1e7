"""What the trainer makes of torch's recorder and profiler, and how often it looks."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tuitrain.events import KINDS
from tuitrain.trainer.collectives import EVERY, CollectiveWatch, _arrivals, _Period, covered, payload_bytes, union_ns
from tuitrain.trainer.parallel.side import Side
from tuitrain.trainer.parallel.world import World


def call(sizes: list[list[int]], dtypes: list[str], out: list[list[int]] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "input_sizes": sizes, "input_dtypes": dtypes, "output_sizes": sizes if out is None else out, "output_dtypes": dtypes,
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("spans", "covered"),
    [
        ([], 0), ([(0, 5)], 5), ([(0, 5), (5, 8)], 8), ([(0, 5), (3, 8)], 8), ([(3, 8), (0, 5)], 8), ([(0, 9), (2, 3)], 9),
        ([(0, 2), (4, 6)], 4), ([(7, 3)], 0), ([(0, 2), (9, 4), (5, 6)], 3),
    ],
)  # fmt: skip
def test_time_in_which_something_ran(spans: list[tuple[int, int]], covered: int) -> None:
    assert union_ns(spans) == covered


def test_bytes_are_those_of_the_larger_side() -> None:
    gather = call([[100]], ["Float"], out=[[2, 100]])
    barrier = call([], [])
    assert payload_bytes([gather, barrier, call([[3, 4]], ["BFloat16"])]) == 800 + 0 + 24
    assert payload_bytes([gather, call([[1]], ["Quaternion"])]) is None


def test_a_step_is_looked_at_early_and_then_by_the_cost() -> None:
    period = _Period()
    assert [count for count in range(1, 80) if period.is_due(count)] == [5, 25, 50, 75]
    for _ in range(5):
        period.seen(0.1, 0.08)
    period.cost(0.01, 0.09)  # 20 ms against 25 steps of 100: 0.8 %
    assert period.steps == EVERY
    period.cost(0.03, 0.13)  # 80 ms: 3.2 %
    assert period.steps == 4 * EVERY
    assert [count for count in range(1, 210) if period.is_due(count)] == [5, 100, 200]
    period.cost(0.01, 0.07)  # a profiled step may be a fast one
    assert period.steps == EVERY


def test_calls_are_told_oldest_first_with_their_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuitrain.trainer.collectives._ranks_of", lambda name: {"0": [0, 1, 2, 3], "7": [0, 1]}[name])
    entries = [
        {"process_group": [name, "some"], "collective_seq_id": number, "time_created_ns": t_ns}
        for name, number, t_ns in (("0", 5, 1300), ("7", 9, 1100), ("0", 4, 1050))
    ]
    groups, arrivals = _arrivals(entries, 1000)
    assert groups == [{"name": "0", "ranks": [0, 1, 2, 3]}, {"name": "7", "ranks": [0, 1]}]
    assert arrivals == [[0, 4, 50], [1, 9, 100], [0, 5, 300]]


def test_only_steps_the_recorder_reaches_back_to_are_told() -> None:
    window = [(3, 100, 190), (4, 200, 290), (5, 300, 390)]
    assert covered(window, [{"time_created_ns": t_ns} for t_ns in (50, 210, 350)]) == (window, True)
    assert covered(window, [{"time_created_ns": t_ns} for t_ns in (150, 210, 350)]) == (window[1:], True)
    assert covered(window, [{"time_created_ns": t_ns} for t_ns in (310, 350)]) == (window[2:], False)
    many = [{"time_created_ns": 1000 + number} for number in range(400)]
    assert covered([(3, 1000, 1150), (4, 1150, 1399)], many) == ([(4, 1150, 1399)], True)


class Listener:
    """Telemetry that keeps what it is told."""

    def __init__(self) -> None:
        self.step = 0
        self.told: list[tuple[str, int, dict[str, Any]]] = []
        self.warned: list[str] = []

    def emit(self, kind: str, **data: Any) -> None:
        self.told.append((kind, self.step, data))

    def warn(self, message: str, hint: str = "") -> None:
        self.warned.append(message)


def six_steps(monkeypatch: pytest.MonkeyPatch, groups: tuple[str, ...]) -> Listener:
    """What is told of six steps with a call in each of the groups; group 9 is the one checkpoints use."""
    recorded: list[dict[str, Any]] = []
    monkeypatch.setattr("tuitrain.trainer.collectives._recorded", lambda device: recorded)
    monkeypatch.setattr("tuitrain.trainer.collectives._ranks_of", lambda name: [0, 1])
    listener, side = Listener(), Side(rank=0, group=SimpleNamespace(group_name="9"))
    watch = CollectiveWatch(World(rank=0, size=2, device=torch.device("cpu"), side=side), listener)  # type: ignore[arg-type]
    for number in range(1, 7):
        watch.begin()
        for name in groups:
            made = {
                "process_group": [name, ""],
                "collective_seq_id": number,
                "is_p2p": False,
                "time_created_ns": time.time_ns(),
            }
            recorded.append(call([[4]], ["Float"]) | made)
        listener.step = number
        watch.end()
    return listener


def test_three_steps_are_told_and_one_is_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = six_steps(monkeypatch, ("0",))
    (kind, step, data), (second, profiled, share) = listener.told
    assert (kind, step, second, profiled) == ("collectives", 5, "communication", 6)
    assert [each[0] for each in data["steps"]] == [3, 4, 5]
    assert [each[:2] for each in data["arrivals"]] == [[0, 3], [0, 4], [0, 5]]
    assert data["payload_bytes"] == 3 * 16
    assert share["communicating_s"] == 0, "nothing ran here"
    assert set(share) == set(KINDS["communication"])
    assert set(data) == set(KINDS["collectives"])


def test_what_a_checkpoint_communicates_is_not_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = six_steps(monkeypatch, ("0", "9"))
    assert [kind for kind, _, _ in listener.told] == ["collectives"], "the profiled step cannot be told from the checkpoint"
    data = listener.told[0][2]
    assert data["groups"] == [{"name": "0", "ranks": [0, 1]}]
    assert len(data["arrivals"]) == 3
    assert six_steps(monkeypatch, ("9",)).told == []


def test_a_recorder_that_is_off_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = six_steps(monkeypatch, ())
    assert listener.told == []
    assert len(listener.warned) == 1
    assert "TORCH_FR_BUFFER_SIZE" in listener.warned[0]


def test_a_single_process_says_nothing() -> None:
    class Silent:
        def emit(self, kind: str, **data: Any) -> None:
            pytest.fail(f"{kind}: there is nobody to wait for")

        warn = emit

    watch = CollectiveWatch(World(rank=0, size=1, device=torch.device("cpu")), Silent())  # type: ignore[arg-type]
    for _ in range(60):
        watch.begin()
        watch.end()
