"""fold(events) -> RunState: everything a viewer shows of a run, from its event log alone.

A pure reducer: no clock, no files. The dashboard, `runs show`, the exporters and the tests all use it, so they agree.
It does not depend on how the per-rank files were interleaved: what orders two facts is their own time, never their arrival.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuitrain.events.ranks import RankState, Skew, Traces, skew_of
from tuitrain.events.schema import ENDED, Event, decode_number
from tuitrain.events.series import Columns

STEP_COLUMNS = (
    "step", "t_s", "loss", "lr", "grad_norm", "tokens", "tokens_total", "step_s", "data_s",
    "tokens_per_s", "mfu_frac", "memory_bytes", "peak_bytes", "loss_scale", "epoch", "power_w",
    "reward_chosen", "reward_rejected", "reward_margin", "accuracy",
)  # fmt: skip
EVAL_COLUMNS = (
    "step", "t_s", "loss", "bits_per_byte", "tokens", "bytes", "eval_s",
    "reward_chosen", "reward_rejected", "reward_margin", "accuracy",
)  # fmt: skip
"""Rewards are those of preference tuning; a log of any other run has none, and the columns stay NaN."""
_STEP_NUMBERS = frozenset(STEP_COLUMNS) - {"step", "t_s"}
_EVAL_NUMBERS = frozenset(EVAL_COLUMNS) - {"step", "t_s"}
MAX_NOTES = 1000
MAX_RANKS = 1 << 16


@dataclass(slots=True)
class RunState:
    """What is known of a run. `state` is what the log says; whether the process is alive is `runs.store`'s business."""

    start: Event | None = None
    """The newest run_start of rank 0."""
    end: Event | None = None
    """The newest run_end, of rank 0 or the supervisor."""
    length: Event | None = None
    """The newest correction of the number of steps, for runs measured in minutes."""
    plan: dict[str, Any] = field(default_factory=dict)
    phase: Event | None = None
    attempts: int = 0
    steps: Columns = field(default_factory=lambda: Columns(STEP_COLUMNS))
    evals: Columns = field(default_factory=lambda: Columns(EVAL_COLUMNS))
    abandoned: list[dict[str, NDArray[np.float64]]] = field(default_factory=list)
    """Steps that were trained and then given up, because the run resumed or rolled back to an earlier checkpoint."""
    samples: list[Event] = field(default_factory=list)
    checkpoints: list[Event] = field(default_factory=list)
    attempt_ends: list[Event] = field(default_factory=list)
    """Attempts that died, with what of; oldest first."""
    notes: list[Event] = field(default_factory=list)
    """Warnings, guard trips and acknowledgements, newest last, the oldest dropped past MAX_NOTES."""
    ranks: dict[int, RankState] = field(default_factory=dict)
    """Every rank that ever wrote; those of the present attempt: `present_ranks`."""
    traces: Traces = field(default_factory=Traces)
    first_t_ns: int = 0
    last_t_ns: int = 0
    version: int = 0

    @property
    def state(self) -> str:
        """waiting | restarting | data | model | reference | train | ... | paused | finished | stopped | failed | killed."""
        if (
            self.end is not None
            and (self.start is None or self.end.t_ns >= self.start.t_ns)
            and not self._began_after(self.end)
        ):
            return str(self.end.data.get("state", "failed"))
        if self._restarting:
            return "restarting"
        if self.phase is not None:
            return str(self.phase.data.get("name", "waiting"))
        return "waiting"

    def _began_after(self, end: Event) -> bool:
        """A new attempt shows phases before its run_start: such a phase outdates the old ending. So does a restart to come."""
        begun = self.phase is not None and self.phase.rank >= 0 and self.phase.t_ns > end.t_ns
        return begun or (self._restarting and self.attempt_ends[-1].t_ns > end.t_ns)

    @property
    def _restarting(self) -> bool:
        """An attempt has died, and the next one has not been heard of."""
        if not self.attempt_ends or self.attempt_ends[-1].data.get("action") == "end":
            return False
        t_ns = self.attempt_ends[-1].t_ns
        return all(each is None or each.t_ns < t_ns for each in (self.phase, self.start))

    @property
    def ended(self) -> bool:
        """Whether the log ends with a run_end."""
        return self.state in ENDED

    @property
    def step(self) -> int:
        """The last optimizer step trained; the resumed checkpoint's when none was yet."""
        if len(self.steps):
            return int(self.steps.last("step"))
        return int(self.start.number("resumed_from_step")) if self.start else 0

    @property
    def total_steps(self) -> int:
        """Optimizer steps planned; 0 while unknown."""
        newest = self.length if self.length and self.start and self.length.t_ns > self.start.t_ns else self.start
        value = newest.data.get("total_steps") if newest else None
        return int(value) if value else 0

    @property
    def present_ranks(self) -> list[RankState]:
        """The processes of the newest attempt, by rank: one that has not written yet is there too, with nothing known of it."""
        size = self.start.number("world_size") if self.start else float("nan")
        if not 1 <= size <= MAX_RANKS:  # unknown, or no number of processes
            return [self.ranks[rank] for rank in sorted(self.ranks)]
        return [self.ranks.get(rank) or RankState(rank=rank) for rank in range(int(size))]

    @property
    def begin_ns(self) -> int:
        """When the newest attempt began to train; 0 before."""
        return self.start.t_ns if self.start else 0

    @property
    def skew(self) -> Skew | None:
        """Who the others wait for, in this attempt; None while no step was traced, and where the ranks have no clock in
        common."""
        if len({rank.host for rank in self.present_ranks}) > 1:
            return None
        return skew_of([each for each in self.traces.done if each.t_ns >= self.begin_ns])

    def trouble_of(self, rank: RankState) -> str:
        """What its newest process died of, by its own word or the supervisor's; empty where it did not. Text of a log."""
        if rank.error:
            return rank.error
        for event in reversed(self.attempt_ends):
            if rank.start is not None and rank.start.t_ns > event.t_ns:
                break
            if rank.rank in (event.data.get("ended_rank"), *_listed(event.data.get("ended_ranks"))):
                return str(event.data.get("reason") or event.data.get("cause") or "")
        return ""

    @property
    def fullest(self) -> RankState | None:
        """The rank whose peak is the largest; None while none has told."""
        told = [rank for rank in self.present_ranks if np.isfinite(rank.peak_bytes)]
        return max(told, key=lambda rank: rank.peak_bytes) if told else None

    @property
    def best_eval(self) -> tuple[int, float] | None:
        """(step, validation loss) of the best evaluation, or None."""
        loss = self.evals.column("loss")
        if not np.isfinite(loss).any():
            return None
        row = int(np.nanargmin(loss))
        return int(self.evals.column("step")[row]), float(loss[row])

    def eta_s(self) -> float:
        """Seconds of training left, from the median of the last 50 steps; NaN while unknown."""
        recent = self.steps.column("step_s")[-50:]
        if not self.total_steps or not np.isfinite(recent).any():
            return float("nan")
        return max(0, self.total_steps - self.step) * float(np.nanmedian(recent))


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """Fold events into `state`, which is changed and returned; a fresh one when none is given. Unknown kinds are skipped."""
    state = RunState() if state is None else state
    for event in events:
        state.first_t_ns = min(state.first_t_ns or event.t_ns, event.t_ns)
        state.last_t_ns = max(state.last_t_ns, event.t_ns)
        state.version += 1
        handler = _HANDLERS.get(event.kind)
        if handler is not None:
            handler(state, event)
    return state


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _newer(new: Event, old: Event | None) -> bool:
    return old is None or (new.t_ns, new.seq) >= (old.t_ns, old.seq)


def _rank(state: RunState, event: Event) -> RankState:
    return state.ranks.setdefault(event.rank, RankState(rank=event.rank))


def _run_start(state: RunState, event: Event) -> None:
    _rank(state, event).began(event)
    if event.rank != 0 or not _newer(event, state.start):
        return
    state.start = event
    state.attempts = max(state.attempts + 1, int(event.data.get("attempt", 0)))
    if len(state.steps):
        _abandon(state, event.number("resumed_from_step"))


def _abandon(state: RunState, after_step: float) -> None:
    """Move steps beyond `after_step` to `abandoned`."""
    gone = state.steps.cut_after("step", after_step)
    state.evals.cut_after("step", after_step)
    if len(gone["step"]):
        state.abandoned.append(gone)


def _length(state: RunState, event: Event) -> None:
    if _newer(event, state.length):
        state.length = event


def _plan(state: RunState, event: Event) -> None:
    state.plan = dict(event.data)


def _phase(state: RunState, event: Event) -> None:
    if event.rank <= 0 and _newer(event, state.phase):
        state.phase = event


def _step(state: RunState, event: Event) -> None:
    _rank(state, event).stepped(event)
    if event.rank != 0:
        return
    if len(state.steps) and event.step <= state.steps.last("step"):  # a rollback, or a log whose run_start was lost
        _abandon(state, event.step - 1)
    state.steps.append(_row(event, _STEP_NUMBERS))


def _eval(state: RunState, event: Event) -> None:
    if len(state.evals) and event.step <= state.evals.last("step"):
        state.evals.cut_after("step", event.step - 1)
    state.evals.append(_row(event, _EVAL_NUMBERS))


def _row(event: Event, names: frozenset[str]) -> dict[str, float]:
    """The columns of an event. Numbers are taken as they are: a long log is folded in seconds, and this is where they go."""
    row = {"step": float(event.step), "t_s": event.t_ns / 1e9}
    for name, value in event.data.items():
        if name in names:
            row[name] = value if type(value) is float else decode_number(value)
    return row


def _sample(state: RunState, event: Event) -> None:
    state.samples.append(event)


def _checkpoint(state: RunState, event: Event) -> None:
    state.checkpoints.append(event)
    if not event.data.get("ok", True):
        _note(state, event)


def _note(state: RunState, event: Event) -> None:
    state.notes.append(event)
    del state.notes[:-MAX_NOTES]


def _guard(state: RunState, event: Event) -> None:
    _note(state, event)
    if event.data.get("action") == "rollback" and len(state.steps):
        _abandon(state, decode_number(event.data.get("rollback_to_step")))


def _attempt_end(state: RunState, event: Event) -> None:
    state.attempt_ends.append(event)
    state.attempt_ends.sort(key=lambda each: each.t_ns)
    _note(state, event)


def _collectives(state: RunState, event: Event) -> None:
    state.traces.add(event)


def _communication(state: RunState, event: Event) -> None:
    _rank(state, event).communicated(event)


def _run_end(state: RunState, event: Event) -> None:
    if event.rank >= 0:
        _rank(state, event).ended(event)
    # The trainer's own ending says more than the supervisor's; the supervisor speaks only when the trainer could not.
    if _newer(event, state.end):
        state.end = event


_HANDLERS = {
    "run_start": _run_start,
    "length": _length,
    "plan": _plan,
    "phase": _phase,
    "step": _step,
    "collectives": _collectives,
    "communication": _communication,
    "eval": _eval,
    "sample": _sample,
    "checkpoint": _checkpoint,
    "guard": _guard,
    "warning": _note,
    "control_ack": _note,
    "attempt_end": _attempt_end,
    "run_end": _run_end,
}
