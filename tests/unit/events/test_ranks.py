"""Ranks side by side: who waits for whom, from the times at which each called the collectives of a step."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from tuitrain.events import Event, RunState, fold
from tuitrain.events.ranks import MAX_OPEN, MAX_TRACED, is_complete, merge, traces_of

T0_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def event(rank: int, kind: str, step: int, *, at_ms: float = 0, seq: int = 1, **data: Any) -> Event:
    return Event(seq=seq, t_ns=T0_NS + round(at_ms * MS), rank=rank, step=step, kind=kind, data=data)


def told(
    rank: int, calls_ms: Sequence[float], *, ranks: Sequence[int] = (0, 1), step: int = 3, step_ms: float = 100,
    first: int = 10, begin_ms: float = 0, seq: int = 1, group: str = "0",
) -> Event:  # fmt: skip
    """One rank's event for a step: its calls in milliseconds after `begin_ms`, numbered on from `first`."""
    arrivals = [[0, first + index, round(call * MS)] for index, call in enumerate(calls_ms)]
    return event(
        rank, "collectives", step, at_ms=begin_ms + step_ms, seq=seq, begin_ns=T0_NS + round(begin_ms * MS),
        steps=[[step, 0, round(step_ms * MS)]], groups=[{"name": group, "ranks": list(ranks)}], arrivals=arrivals, whole=True,
    )  # fmt: skip


def start(rank: int, *, size: int = 2, at_ms: float = -1000, host: str = "a", resumed: int = 0, attempt: int = 1) -> Event:
    return event(
        rank, "run_start", resumed, at_ms=at_ms, world_size=size, host=host, pid=100 + rank, resumed_from_step=resumed,
        attempt=attempt, total_steps=100,
    )  # fmt: skip


def waits(*events: Event) -> dict[int, float]:
    """Milliseconds each rank waited in the one step of the events."""
    traced = fold(events).traces.done
    assert len(traced) == 1
    return {rank: seconds * 1e3 for rank, seconds in traced[0].wait_s.items()}


def test_the_last_to_call_is_who_the_others_waited_for() -> None:
    ranks = range(3)
    events = [told(0, [10, 60], ranks=ranks), told(1, [40, 62], ranks=ranks), told(2, [12, 61], ranks=ranks)]
    state = fold(events)
    traced = state.traces.done[0]
    assert waits(*events) == pytest.approx({0: 30 + 2, 1: 0, 2: 28 + 1})
    assert traced.late_count == {0: 0, 1: 2, 2: 0}
    assert traced.caused_s == pytest.approx({0: 0, 1: 0.061, 2: 0})
    assert traced.caused_frac(1) == pytest.approx(0.061 / 0.2), "over the two others' steps of 0.1 s"
    skew = state.skew
    assert skew is not None
    assert skew.slowest == 1
    assert not skew.notable, "a single step names nobody"


def test_an_event_of_several_steps_is_taken_apart() -> None:
    def window(rank: int, late_ms: float) -> Event:
        calls = [[0, number, round((100 * number + 10 + late_ms) * MS)] for number in range(3)]
        return event(
            rank, "collectives", 5, at_ms=300, begin_ns=T0_NS, whole=True, arrivals=calls,
            groups=[{"name": "0", "ranks": [0, 1]}], steps=[[3, 0, 95 * MS], [4, 100 * MS, 195 * MS], [5, 200 * MS, 300 * MS]],
        )  # fmt: skip

    state = fold([window(0, 0), window(1, 30)])
    assert [each.step for each in state.traces.done] == [3, 4, 5]
    assert [each.wait_s[0] for each in state.traces.done] == pytest.approx([0.030] * 3)
    assert state.skew is not None
    assert state.skew.notable


def test_calls_made_without_waiting_count_once() -> None:
    """As gradients are reduced bucket by bucket: rank 0 is through with computing at 30 ms, rank 1 at 80."""
    assert waits(told(0, [0, 10, 20, 30, 85]), told(1, [20, 40, 60, 80, 85])) == pytest.approx({0: 50, 1: 0})


def test_waiting_never_exceeds_the_step() -> None:
    """The last call waits to the end of the step at most; one that nobody joined in it is no waiting of this step."""
    assert waits(told(0, [0, 50]), told(1, [40, 400], step_ms=500)) == pytest.approx({0: 40, 1: 0})


def test_ties_keep_nobody_waiting() -> None:
    state = fold([told(0, [10, 20]), told(1, [10, 20])])
    assert state.traces.done[0].wait_s == {0: 0, 1: 0}
    skew = state.skew
    assert skew is not None
    assert (skew.caused_frac, skew.worst_count, skew.notable) == ({0: 0, 1: 0}, {0: 0, 1: 0}, False)


def test_ranks_that_began_the_step_at_other_times() -> None:
    """Calls are told relative to the rank's own beginning, and compared on the clock."""
    assert waits(told(0, [10], begin_ms=0), told(1, [10], begin_ms=25)) == pytest.approx({0: 25, 1: 0})


def test_a_step_waits_for_its_last_rank_to_tell() -> None:
    ranks = range(3)
    events = [told(rank, [10 + rank], ranks=ranks) for rank in ranks]
    assert fold(events[:2]).traces.done == []
    assert fold(events[:2]).skew is None
    assert not is_complete({each.rank: traces_of(each)[3] for each in events[:2]})
    state = fold(events)
    assert len(state.traces.done) == 1


def test_the_order_of_reading_does_not_matter() -> None:
    ranks = range(3)
    events = [start(rank, size=3) for rank in ranks]
    events += [
        told(rank, [10 + 7 * rank, 50], ranks=ranks, step=step, begin_ms=200 * step) for rank in ranks for step in (3, 25)
    ]
    expected = fold(events).skew
    assert expected is not None
    for order in itertools.islice(itertools.permutations(events), 0, None, 4021):
        assert fold(order).skew == expected


def test_groups_of_some_ranks_compare_those() -> None:
    events = [
        told(0, [10], ranks=(0, 1), group="left"), told(1, [30], ranks=(0, 1), group="left"),
        told(2, [10], ranks=(2, 3), group="right"), told(3, [15], ranks=(2, 3), group="right"),
    ]  # fmt: skip
    merged = merge(3, {each.rank: traces_of(each)[3] for each in events})
    assert merged is not None
    assert merged.wait_s == pytest.approx({0: 0.020, 1: 0, 2: 0.005, 3: 0})


def test_events_of_two_attempts_are_not_mixed() -> None:
    """The third step of the second attempt has other collectives than that of the first."""
    first = [told(0, [10]), told(1, [30])]
    again = [told(0, [10], begin_ms=9000, first=77, seq=9), told(1, [90], begin_ms=9000, first=77, seq=9)]
    half = fold([*first, again[0]])
    assert half.traces.done[0].wait_s == pytest.approx({0: 0.020, 1: 0}), "the first stands until all have told again"
    both = fold([*first, start(0, at_ms=8000), *again])
    assert [each.wait_s[0] for each in both.traces.done] == pytest.approx([0.080])
    restarted = fold([*first, start(0, at_ms=8000)])
    assert restarted.skew is None, "what was measured is of the attempt before"


def steps_with_one_late(late_ms: float, steps: int, *, rank: int = 1) -> list[Event]:
    calls = {rank: [10 + late_ms, 90.0], 1 - rank: [10.0, 90.0]}
    return [told(each, calls[each], step=step, begin_ms=100 * step) for step in range(1, steps + 1) for each in (0, 1)]


def test_the_slowest_is_named_by_how_much_and_how_often() -> None:
    skew = fold(steps_with_one_late(12, 5)).skew
    assert skew is not None
    assert skew.notable
    assert (skew.slowest, skew.steps, skew.worst_count[1], skew.late_count[1]) == (1, 5, 5, 5)
    assert skew.caused_frac[1] == pytest.approx(0.12)
    assert skew.wait_frac == pytest.approx({0: 0.12, 1: 0})


def test_small_waits_and_turns_name_nobody() -> None:
    small = fold(steps_with_one_late(1.5, 5)).skew
    assert small is not None
    assert not small.notable
    turns = [each for step in range(1, 7) for each in steps_with_one_late(20, step, rank=step % 2)[-2:]]
    skew = fold(turns).skew
    assert skew is not None
    assert (skew.steps, skew.notable) == (6, False)


def test_what_is_kept_is_bounded() -> None:
    state = fold(steps_with_one_late(12, 3 * MAX_TRACED))
    assert [each.step for each in state.traces.done] == list(range(2 * MAX_TRACED + 1, 3 * MAX_TRACED + 1))
    lone = fold([told(0, [10], step=step, begin_ms=step) for step in range(1, 100)])
    assert len(lone.traces.open) == MAX_OPEN


def test_clocks_of_two_hosts_are_not_compared() -> None:
    events = [start(0, host="a"), start(1, host="b"), *steps_with_one_late(30, 3)]
    assert fold(events).skew is None


@pytest.mark.parametrize(
    "damage",
    [
        {"arrivals": None}, {"arrivals": [[5, 1, 1]]}, {"arrivals": [["x", 1, 1]]}, {"arrivals": [[0, 1]]}, {"arrivals": []},
        {"groups": "0"}, {"groups": [{"name": "0"}]}, {"groups": [3]}, {"begin_ns": "now"}, {"steps": [[3, 0]]},
        {"steps": [[3, 9, 9]]}, {"steps": 3},
        {"steps": [[3, 0, float("inf")]]},
    ],
)  # fmt: skip
def test_a_damaged_event_is_passed_over(damage: dict[str, Any]) -> None:
    good = told(0, [10])
    bad = Event(seq=1, t_ns=good.t_ns, rank=0, step=3, kind="collectives", data=good.data | damage)
    assert traces_of(bad) == {}
    assert fold([bad, told(1, [30])]).traces.done == []


def test_no_number_of_processes_is_believed_that_cannot_be() -> None:
    assert fold([start(0, size=10**9), start(1, size=10**9)]).present_ranks[-1].rank == 1


def stepped(rank: int, step: int, *, at_ms: float, peak: float, seq: int = 5) -> Event:
    return event(rank, "step", step, at_ms=at_ms, seq=seq, step_s=0.1, data_s=0.02, memory_bytes=0.9 * peak, peak_bytes=peak)


def test_the_newest_facts_of_each_rank_and_the_fullest() -> None:
    state = fold([
        start(0, size=3), start(1, size=3), stepped(0, 7, at_ms=700, peak=5e9), stepped(1, 6, at_ms=600, peak=6e9),
        event(1, "communication", 4, at_ms=400, step_s=0.2, communicating_s=0.05, operations=3),
    ])  # fmt: skip
    zero, one, two = state.present_ranks
    assert (zero.step, one.step, one.pid, one.host) == (7, 6, 101, "a")
    assert one.communicating_frac() == pytest.approx(0.25)
    assert math.isnan(zero.communicating_frac())
    assert two.start is None
    assert math.isnan(two.peak_bytes), "a rank that has not written is there, with nothing known of it"
    assert state.fullest is one


def test_a_restart_forgets_the_process_before() -> None:
    died = event(1, "run_end", 6, at_ms=650, seq=6, state="failed", reason="RuntimeError: boom")
    before = [start(0), start(1), stepped(0, 7, at_ms=700, peak=5e9), stepped(1, 6, at_ms=600, peak=6e9), died]
    profiled = event(1, "communication", 4, at_ms=400, step_s=0.2, communicating_s=0.05, operations=3)
    assert fold(before).ranks[1].error == "RuntimeError: boom"
    again = [start(0, at_ms=900, resumed=5, attempt=2), start(1, at_ms=901, resumed=5, attempt=2)]
    for order in ([*before, profiled, *again], [*again, *before, profiled]):
        state = fold(order)
        one = state.present_ranks[1]
        assert (one.step, one.error) == (5, "")
        assert math.isnan(one.peak_bytes)
        assert math.isnan(one.communicating_frac(state.begin_ns))
    smaller = fold([*before, start(0, size=1, at_ms=900, resumed=5, attempt=2)])
    assert [rank.rank for rank in smaller.present_ranks] == [0]


def test_a_rank_that_was_killed_says_nothing_and_the_supervisor_names_it() -> None:
    died = event(-1, "attempt_end", 6, at_ms=800, attempt=1, cause="killed", reason="rank 1 was killed", ended_rank=1)
    before = [start(0), start(1), stepped(0, 7, at_ms=700, peak=5e9), died]
    state = fold(before)
    assert [state.trouble_of(rank) for rank in state.present_ranks] == ["", "rank 1 was killed"]
    assert died in state.notes
    again = fold([*before, start(0, at_ms=900), start(1, at_ms=901)])
    assert [again.trouble_of(rank) for rank in again.present_ranks] == ["", ""]


def test_logs_without_any_of_it_still_fold() -> None:
    state = fold([event(0, "run_start", 0, attempt=1, total_steps=10), event(0, "step", 1, at_ms=5, loss=1.0)])
    assert (state.skew, state.fullest, [rank.rank for rank in state.present_ranks]) == (None, None, [0])
    assert RunState().present_ranks == []


def test_an_event_of_a_full_recorder_is_small() -> None:
    whole = told(0, [0.1 * call for call in range(256)], ranks=range(64), first=1_000_000)
    assert len(json.dumps(whole.data)) < 9000
