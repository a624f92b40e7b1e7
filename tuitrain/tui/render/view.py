"""What a renderer is given: one run, the moment it is looked at, and the character set. Every renderer of a run takes this."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.chat.findings import Finding
from tuitrain.events import RunState
from tuitrain.runs.status import Liveness
from tuitrain.tui.render.glyphs import UNICODE, Glyphs
from tuitrain.tui.render.plan_document import plan_fields
from tuitrain.tui.render.smooth import Smoother


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """A run at a moment. The state is shared with whoever folds it: hold the feed's lock while rendering."""

    run_id: str
    state: RunState
    now_s: float
    """Seconds since the epoch; ages are told from it."""
    glyphs: Glyphs = UNICODE
    liveness: Liveness | None = None
    """None trusts the log alone."""
    plan: dict[str, Any] = field(default_factory=dict)
    """plan.json: formulas, capacity. The figures plotted come from the plan event."""
    config: dict[str, Any] = field(default_factory=dict)
    """The configuration as run."""
    findings: tuple[Finding, ...] | None = None
    """What the flight check found; None where there was none, or none yet."""
    smoothers: dict[str, Smoother] = field(default_factory=dict)
    """Smoothed curves kept between two frames, by metric."""
    epoch: int = 0
    """Counts how often the log was replaced; what was kept between frames is then void."""

    @property
    def stage(self) -> str:
        """pretrain | midtrain | sft | dpo; empty where the configuration is not known."""
        run = self.config.get("run")
        return str(run.get("stage") or "") if isinstance(run, dict) else ""

    @property
    def plan_event(self) -> dict[str, Any]:
        """The plan as the trainer told it; as plan.json has it where the trainer has not."""
        return self.state.plan or plan_fields(self.plan)

    def planned(self, key: str) -> float:
        """A planned number; NaN when the plan has none."""
        value = self.plan_event.get(key)
        return float(value) if isinstance(value, (int, float)) else float("nan")

    @property
    def capacity_bytes(self) -> float:
        """Memory of the device the plan was made for; NaN when unknown."""
        memory = self.plan.get("memory")
        value = memory.get("capacity_bytes") if isinstance(memory, dict) else None
        return float(value) if isinstance(value, (int, float)) else float("nan")

    @property
    def recent_step_s(self) -> float:
        """Median wall time of the last 50 steps; NaN before the first."""
        return recent_median(self.state, "step_s", 50)

    @property
    def trained_s(self) -> float:
        """Wall time of the training steps of the branch that counts: what the plan's duration predicts."""
        return float(np.nansum(self.state.steps.column("step_s")))


def recent_median(state: RunState, column: str, rows: int) -> float:
    """Median of the last finite values of a step column; NaN when there are none."""
    values = _recent(state, column, rows)
    return float(np.median(values)) if len(values) else float("nan")


def recent_mean(state: RunState, column: str, rows: int) -> float:
    """Mean of the last finite values of a step column; NaN when there are none."""
    values = _recent(state, column, rows)
    return float(values.mean()) if len(values) else float("nan")


def _recent(state: RunState, column: str, rows: int) -> NDArray[np.float64]:
    values = state.steps.column(column)[-rows:]
    return values[np.isfinite(values)]
