"""A run in one line of data (for the list) and at its end in a few lines of text: plan against actual."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from tuitrain.events import Columns, RunState, Traces
from tuitrain.runs.status import Liveness
from tuitrain.tui.render import format as fmt
from tuitrain.tui.render.metrics import has_rewards
from tuitrain.tui.render.ranks import closing_table
from tuitrain.tui.render.status import Badge, badge
from tuitrain.tui.render.tiles import measured_value, memory_label, planned_value
from tuitrain.tui.render.view import RunView

SPARK_POINTS = 20
PREVIEW_ROWS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """What the list of runs shows of one."""

    run_id: str
    badge: Badge
    step: int
    total_steps: int
    loss: float
    eta_s: float
    """Time left while it trains, NaN otherwise."""
    last_s: float
    """When it was last heard of."""
    spark: tuple[float, ...]
    """The loss, decimated to SPARK_POINTS means."""
    alerts: int
    checkpoint_step: int
    """-1 before the first."""
    checkpoint_s: float
    """When it was saved, seconds since the epoch."""
    state: RunState = field(compare=False, repr=False)
    """A thinned copy of what is known, for the preview. Nobody changes it any more."""

    @property
    def live(self) -> bool:
        """Whether somebody works on it."""
        return self.badge.live


def summarise(run_id: str, state: RunState, liveness: Liveness | None, created_s: float = 0.0) -> RunSummary:
    """The summary of a run."""
    now = badge(state, liveness)
    saved = [event for event in state.checkpoints if event.data.get("ok", True)]
    return RunSummary(
        run_id=run_id,
        badge=now,
        step=state.step,
        total_steps=state.total_steps,
        loss=state.steps.last("loss"),
        eta_s=state.eta_s() if now.live else math.nan,
        last_s=state.last_t_ns / 1e9 if state.last_t_ns else created_s,
        spark=sparkline_points(state),
        alerts=sum(event.kind != "control_ack" for event in state.notes),
        checkpoint_step=saved[-1].step if saved else -1,
        checkpoint_s=saved[-1].t_ns / 1e9 if saved else 0.0,
        state=thin(state),
    )


def thin(state: RunState, rows: int = PREVIEW_ROWS) -> RunState:
    """A copy with at most about `rows` of its steps, the newest among them; later changes of `state` do not reach it."""
    steps = Columns(state.steps.names)
    stride = max(1, len(state.steps) // rows)
    kept = {name: state.steps.column(name)[::-1][::stride][::-1] for name in state.steps.names}
    for row in range(len(kept["step"])):
        steps.append({name: float(values[row]) for name, values in kept.items()})
    evals = Columns(state.evals.names)
    for row in range(len(state.evals)):
        evals.append({name: float(state.evals.column(name)[row]) for name in state.evals.names})
    return replace(
        state,
        steps=steps,
        evals=evals,
        abandoned=[],
        samples=state.samples[-8:],
        checkpoints=list(state.checkpoints),
        notes=list(state.notes),
        ranks={},
        traces=Traces(),
    )


def sparkline_points(state: RunState, points: int = SPARK_POINTS) -> tuple[float, ...]:
    """Means of equal shares of the loss curve; fewer while there are fewer steps."""
    loss = state.steps.column("loss")
    loss = loss[np.isfinite(loss)]
    if not len(loss):
        return ()
    parts = np.array_split(loss, min(points, len(loss)))
    return tuple(float(part.mean()) for part in parts)


def stream_line(view: RunView) -> str:
    """One line for a stream: 'step 8,204/20,000  41%  loss 2.214 (plan 2.190)  12.1k tok/s  MFU 31%  ETA 1 h 52 m'."""
    state, parts = view.state, []
    if not len(state.steps):
        now = badge(state, view.liveness)
        frac = state.phase.number("done_frac") if state.phase is not None else math.nan
        return "  ".join(filter(None, (now.word.lower(), now.detail, fmt.percent(frac) if math.isfinite(frac) else "")))
    total = f"/{fmt.count(state.total_steps)}" if state.total_steps else ""
    parts.append(f"step {fmt.count(state.step)}{total}")
    if state.total_steps:
        parts.append(fmt.percent(state.step / state.total_steps))
    planned = planned_value(view, "loss")
    parts.append(
        f"loss {fmt.number(state.steps.last('loss'))}" + (f" (plan {fmt.number(planned)})" if math.isfinite(planned) else "")
    )
    parts.append(fmt.rate(measured_value(view, "speed")))
    if math.isfinite(mfu := measured_value(view, "mfu")):
        parts.append(f"MFU {fmt.percent(mfu)}")
    parts.append(f"grad {fmt.number(state.steps.last('grad_norm'))}")
    if has_rewards(view):
        parts.append(_rewards(state.steps))
    if len(state.evals) and state.evals.last("step") == state.step:
        bits = state.evals.last("bits_per_byte")
        more = _rewards(state.evals) if has_rewards(view) else f"{bits:.3f} bits/byte" if math.isfinite(bits) else ""
        parts.append(f"eval {fmt.number(state.evals.last('loss'))}" + (f" ({more})" if more else ""))
    if not state.ended and math.isfinite(state.eta_s()):
        parts.append(f"ETA {fmt.duration(state.eta_s())}")
    return "  ".join(parts)


def _rewards(columns: Columns) -> str:
    """'margin 0.412  accuracy 71%', of the newest row."""
    return f"margin {fmt.number(columns.last('reward_margin'))}  accuracy {fmt.percent(columns.last('accuracy'))}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One row of plan against actual."""

    name: str
    planned: float
    actual: float
    planned_text: str
    actual_text: str

    @property
    def drift_frac(self) -> float:
        """How far the actual lies from the plan; NaN when either is missing."""
        return fmt.relative(self.actual, self.planned)


def comparisons(view: RunView) -> list[Comparison]:
    """Time, speed, losses and memory against the plan. The time planned is that of the steps trained."""
    state = view.state
    share = state.step / state.total_steps if state.total_steps else 1.0
    final_loss = state.end.number("loss") if state.end is not None and state.ended else math.nan
    # The plan's loss is the expected one; single steps scatter around it, so the mean of the last 2 % is what compares.
    tail = state.steps.column("loss")[-max(1, len(state.steps) // 50) :]
    tail = tail[np.isfinite(tail)]
    mean_loss = float(tail.mean()) if len(tail) else final_loss
    judged = state.evals.last("loss")  # a law predicts the loss on held-out text; training text may be much easier
    rows = (
        ("time", view.planned("duration_s") * share, view.trained_s or math.nan, fmt.duration),
        ("speed", view.planned("tokens_per_s"), recent_speed(view), fmt.rate),
        ("loss", planned_value(view, "loss"), judged if math.isfinite(judged) else mean_loss, fmt.number),
        ("bits per byte", view.planned("bits_per_byte"), state.evals.last("bits_per_byte"), fmt.number),
        (memory_label(view, "memory"), view.planned("peak_bytes"), measured_value(view, "memory"), fmt.size),
    )
    return [
        Comparison(
            name=name, planned=planned, actual=actual, planned_text=_text(planned, show), actual_text=_text(actual, show)
        )
        for name, planned, actual, show in rows
    ]


def _text(value: float, show: object) -> str:
    assert callable(show)
    return str(show(value)) if math.isfinite(value) else fmt.MISSING


def recent_speed(view: RunView) -> float:
    """Tokens per second over all steps of the branch that counts."""
    seconds, tokens = view.trained_s, float(np.nansum(view.state.steps.column("tokens")))
    return tokens / seconds if seconds > 0 and tokens > 0 else math.nan


def closing_lines(view: RunView) -> str:
    """The closing lines of a run: how it ended, then plan against actual."""
    state, now = view.state, badge(view.state, view.liveness)
    total = f" of {fmt.count(state.total_steps)}" if state.total_steps else ""
    head = f"{now.word.lower()} after step {fmt.count(state.step)}{total}" + (f": {now.detail}" if now.detail else "")
    lines = [head, "", f"{'':14}{'planned':>14}{'actual':>14}{'difference':>12}"]
    for row in comparisons(view):
        if row.planned_text == row.actual_text == fmt.MISSING:
            continue
        lines.append(f"{row.name:14}{row.planned_text:>14}{row.actual_text:>14}{fmt.signed_percent(row.drift_frac):>12}")
    if ranks := closing_table(view):
        lines += ["", *ranks]
    best = state.best_eval
    if best is not None:
        unit = "" if has_rewards(view) else " nats per token"
        lines += ["", f"best evaluation: {fmt.number(best[1])}{unit} at step {fmt.count(best[0])}"]
        if has_rewards(view):
            lines.append(f"last evaluation: {_rewards(state.evals)}")
    saved = [event.step for event in state.checkpoints if event.data.get("ok", True)]
    if saved:
        lines.append(f"newest checkpoint: step {fmt.count(saved[-1])}")
    return "\n".join(lines)
