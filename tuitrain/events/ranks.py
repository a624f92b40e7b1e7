"""The processes of a run side by side: the newest facts of each, and who of them the others wait for.

Each process tells when it called the collectives of the same step (event `collectives`). A collective runs when the last of its
ranks has called it, so that one is who the others waited for, and a rank waited from its own call to the last one's - unless it
went on meanwhile: a call made without waiting (gradients of one layer while the next is computed) shows by the rank's next call
coming before the last rank's, and such time is not counted. Of what is counted a part may have been spent computing, where the
next call came later. In a chain - one group waits for a rank that waits in another - the rank in the middle is blamed for what
it passes on, and the one at the root for that and its own. Where an event does not reach back to the beginning of its step, the
waiting before that is missing.

Clocks of two machines are not one clock: ranks of different hosts are not compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuitrain.events.schema import Event

MAX_TRACED = 30
"""Traced steps that count: the newest."""
MAX_OPEN = 24
"""Steps some of whose ranks have not told yet; older ones are given up."""
NOTABLE_FRAC, NOTABLE_STEPS = 0.02, 3
"""Below this share of the time nobody waits for anybody in a sense worth a word; fewer steps name nobody."""


@dataclass(slots=True)
class RankState:
    """The newest facts of one process."""

    rank: int
    step: int = 0
    t_ns: int = 0
    """Of its newest step."""
    step_s: float = math.nan
    data_s: float = math.nan
    memory_bytes: float = math.nan
    peak_bytes: float = math.nan
    start: Event | None = None
    """Its newest run_start: process, host, device."""
    end: Event | None = None
    """Its newest run_end."""
    communications: list[tuple[int, float, float]] = field(default_factory=list)
    """(time of the event in ns, seconds communicating, seconds of the step) of the newest profiled steps."""

    def began(self, event: Event) -> None:
        """A run_start of this rank: what is known from before is another process's."""
        if self.start is not None and (event.t_ns, event.seq) < (self.start.t_ns, self.start.seq):
            return
        self.start = event
        if self.t_ns < event.t_ns:
            resumed = event.number("resumed_from_step")
            self.step = int(resumed) if math.isfinite(resumed) else 0
            self.step_s = self.data_s = self.memory_bytes = self.peak_bytes = math.nan

    def stepped(self, event: Event) -> None:
        """A step of this rank."""
        if event.t_ns < max(self.t_ns, self.start.t_ns if self.start else 0):
            return
        self.step, self.t_ns = event.step, event.t_ns
        self.step_s, self.data_s = event.number("step_s"), event.number("data_s")
        self.memory_bytes, self.peak_bytes = event.number("memory_bytes"), event.number("peak_bytes")

    def communicated(self, event: Event) -> None:
        """A profiled step of this rank."""
        seconds, step_s = event.number("communicating_s"), event.number("step_s")
        if math.isfinite(seconds) and math.isfinite(step_s) and step_s > 0:
            self.communications = sorted([*self.communications, (event.t_ns, seconds, step_s)])[-MAX_TRACED:]

    def ended(self, event: Event) -> None:
        """A run_end of this rank."""
        if self.end is None or (event.t_ns, event.seq) >= (self.end.t_ns, self.end.seq):
            self.end = event

    @property
    def host(self) -> str:
        """Machine it runs on; empty while unknown. Text of a log: clean it before showing it."""
        return str(self.start.data.get("host") or "") if self.start else ""

    @property
    def pid(self) -> int | None:
        """Its process; None while unknown."""
        pid = self.start.data.get("pid") if self.start else None
        return pid if isinstance(pid, int) else None

    @property
    def error(self) -> str:
        """Why it failed; empty while it has not, and when it began anew."""
        if self.end is None or self.end.data.get("state") != "failed":
            return ""
        return "" if self.start is not None and self.start.t_ns > self.end.t_ns else str(self.end.data.get("reason") or "")

    def communicating_frac(self, since_ns: int = 0) -> float:
        """Share of its profiled steps since then in which a collective ran; NaN when none was profiled."""
        counted = [each for each in self.communications if each[0] >= since_ns]
        whole_s = sum(each[2] for each in counted)
        return sum(each[1] for each in counted) / whole_s if whole_s > 0 else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """One rank's calls in one step."""

    begin_ns: int
    step_s: float
    calls: tuple[tuple[tuple[str, int], int], ...]
    """((process group, its count of collectives), nanoseconds since the epoch), oldest first."""
    group_ranks: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedStep:
    """What the calls of all ranks in one step come to."""

    step: int
    t_ns: int
    """When the first rank began it."""
    step_s: Mapping[int, float]
    wait_s: Mapping[int, float]
    """By rank: how long it waited for others."""
    caused_s: Mapping[int, float]
    """By rank: how long others waited for it, added up over them."""
    late_count: Mapping[int, int]
    """By rank: collectives it was the last to call while somebody waited."""

    def wait_frac(self, rank: int) -> float:
        """Share of the step the rank waited."""
        return self.wait_s[rank] / self.step_s[rank]

    def caused_frac(self, rank: int) -> float:
        """Share of the step the others waited for this rank, on average over them."""
        others_s = sum(self.step_s.values()) - self.step_s[rank]
        return self.caused_s[rank] / others_s if others_s > 0 else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Skew:
    """Who the others wait for, over the traced steps that count."""

    steps: int
    """Traced steps."""
    wait_frac: Mapping[int, float]
    """By rank: share of the time it waits for others."""
    caused_frac: Mapping[int, float]
    """By rank: share of the time the others wait for it, on average over them."""
    late_count: Mapping[int, int]
    worst_count: Mapping[int, int]
    """By rank: traced steps in which the others waited for it longest."""

    @property
    def slowest(self) -> int:
        """The rank the others wait for longest."""
        return max(sorted(self.caused_frac), key=lambda rank: self.caused_frac[rank])

    @property
    def notable(self) -> bool:
        """Whether one rank stands out: waited for at least 2 % of the time, and longest in more than half of the steps."""
        rank = self.slowest
        often = self.steps >= NOTABLE_STEPS and 2 * self.worst_count[rank] > self.steps
        return often and self.caused_frac[rank] >= NOTABLE_FRAC


def traces_of(event: Event) -> dict[int, Trace]:
    """The calls an event lists, by step; none for one that is not what the schema says (a log may be anything)."""
    data = event.data
    try:
        begin_ns = int(data["begin_ns"])
        names = [str(each["name"]) for each in data["groups"]]
        ranks = {str(each["name"]): tuple(map(int, each["ranks"])) for each in data["groups"]}
        calls = [((names[group], int(number)), int(after_ns)) for group, number, after_ns in data["arrivals"]]
        steps = [(int(number), int(begin), int(end)) for number, begin, end in data["steps"]]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return {}
    calls.sort(key=lambda call: call[1])
    traces = {}
    for number, begin, end in steps:
        own = tuple((key, begin_ns + after) for key, after in calls if begin <= after <= end)
        if own and end > begin:
            traces[number] = Trace(begin_ns=begin_ns + begin, step_s=(end - begin) / 1e9, calls=own, group_ranks=ranks)
    return traces


def is_complete(traces: Mapping[int, Trace]) -> bool:
    """Whether every rank that any of the traces knows of has told."""
    known = {rank for trace in traces.values() for ranks in trace.group_ranks.values() for rank in ranks}
    return known <= set(traces)


def merge(step: int, traces: Mapping[int, Trace]) -> TracedStep | None:
    """What the traces of a step come to; None when they have no collective in common (they are of two attempts)."""
    called: dict[tuple[str, int], dict[int, int]] = {}
    for rank, trace in traces.items():
        for key, t_ns in trace.calls:
            called.setdefault(key, {})[rank] = t_ns
    last: dict[tuple[str, int], tuple[int, int]] = {}
    for key, by_rank in called.items():
        ranks = next(trace.group_ranks[key[0]] for trace in traces.values() if key[0] in trace.group_ranks)
        if len(ranks) > 1 and set(by_rank) == set(ranks):
            # Of ranks that call in the same nanosecond none keeps another waiting: which of them is taken does not matter.
            last[key] = max((t_ns, rank) for rank, t_ns in by_rank.items())
    if not last:
        return None
    wait_ns, caused_ns = dict.fromkeys(traces, 0), dict.fromkeys(traces, 0)
    late: dict[int, set[tuple[str, int]]] = {rank: set() for rank in traces}
    for rank, trace in traces.items():
        end_ns = trace.begin_ns + round(trace.step_s * 1e9)
        following = [t_ns for _, t_ns in trace.calls[1:]] + [end_ns]
        for (key, t_ns), next_ns in zip(trace.calls, following, strict=True):
            if key not in last:
                continue
            last_ns, latest = last[key]
            if t_ns < last_ns <= next_ns:  # it called, and did nothing more before the last rank came
                wait_ns[rank] += last_ns - t_ns
                caused_ns[latest] += last_ns - t_ns
                late[latest].add(key)
    return TracedStep(
        step=step,
        t_ns=min(trace.begin_ns for trace in traces.values()),
        step_s={rank: trace.step_s for rank, trace in traces.items()},
        wait_s={rank: each / 1e9 for rank, each in wait_ns.items()},
        caused_s={rank: each / 1e9 for rank, each in caused_ns.items()},
        late_count={rank: len(each) for rank, each in late.items()},
    )


def skew_of(traced: Sequence[TracedStep]) -> Skew | None:
    """The traced steps together, those of the ranks of the newest; None when there are none."""
    if not traced:
        return None
    ranks = sorted(traced[-1].step_s)
    same = [each for each in traced if sorted(each.step_s) == ranks]
    worst = [max(ranks, key=each.caused_s.__getitem__) for each in same if any(each.caused_s.values())]
    whole_s = sum(sum(each.step_s.values()) for each in same)
    own_s = {rank: sum(each.step_s[rank] for each in same) for rank in ranks}
    return Skew(
        steps=len(same),
        wait_frac={rank: sum(each.wait_s[rank] for each in same) / own_s[rank] for rank in ranks},
        caused_frac={
            rank: sum(each.caused_s[rank] for each in same) / (whole_s - own_s[rank]) if len(ranks) > 1 else 0.0
            for rank in ranks
        },
        late_count={rank: sum(each.late_count[rank] for each in same) for rank in ranks},
        worst_count={rank: worst.count(rank) for rank in ranks},
    )


class Traces:
    """Collects the traces of all ranks and keeps what they come to. The order in which they are read does not matter."""

    def __init__(self) -> None:
        self.open: dict[int, dict[int, tuple[Any, Trace]]] = {}
        """By step and rank: (time and number of the event, trace)."""
        self.done: list[TracedStep] = []
        """Merged steps, oldest first."""

    def add(self, event: Event) -> None:
        """One rank's event. Of two for the same step, as after going back, the newer one counts."""
        for step, trace in traces_of(event).items():
            of_step = self.open.setdefault(step, {})
            age = (event.t_ns, event.seq)
            if event.rank in of_step and of_step[event.rank][0] > age:
                continue
            of_step[event.rank] = age, trace
            newest = {rank: each for rank, (_, each) in of_step.items()}
            if is_complete(newest) and (merged := merge(step, newest)) is not None:
                self.done = sorted([each for each in self.done if each.step != step] + [merged], key=lambda each: each.t_ns)
                self.done = self.done[-MAX_TRACED:]
        while len(self.open) > MAX_OPEN:
            del self.open[min(self.open, key=lambda step: max(age for age, _ in self.open[step].values()))]
