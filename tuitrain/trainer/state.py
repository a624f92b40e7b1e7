"""Everything that decides what the next step computes, besides weights and optimizer. It is in every checkpoint, whole."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from tuitrain.trainer.guards import StepGuard
from tuitrain.trainer.scaler import LossScaler


@dataclass(slots=True)
class Position:
    """Where a run stands."""

    total_steps: int
    step: int = 0
    """Optimizer steps done."""
    next_sequence: int = 0
    """First sequence of the next global batch. Runs ahead of `step` after a rollback: bad batches are not read twice."""
    tokens_total: int = 0
    """Valid tokens read."""
    best_loss: float = math.inf
    """Lowest validation loss so far."""
    best_step: int | None = None
    evals_without_gain: int = 0
    rollbacks: int = 0
    train_s: float = 0.0
    """Wall time spent training and evaluating, all attempts."""
    deadline_s: float | None = None
    """What train_s may become, for a run measured in minutes; None for a run of a given length."""
    paced_step: int = 0
    paced_s: float = 0.0
    """Step and train_s when the length was last adjusted: the pace is measured from there."""


@dataclass(slots=True)
class Ending:
    """How a run ended: finished | stopped | failed, and one line for people."""

    state: str
    reason: str


@dataclass(slots=True)
class TrainState:
    """Position, guard statistics, loss scale, and the last evaluation."""

    position: Position
    guard: StepGuard | None
    scaler: LossScaler
    last_eval: dict[str, float] = field(default_factory=dict)
    ending: Ending | None = None

    def to_dict(self) -> dict[str, Any]:
        """trainer.json: plain JSON, infinity as null."""
        position = asdict(self.position)
        position["best_loss"] = _finite_or_none(self.position.best_loss)
        return {
            "position": position,
            "guard": self.guard.state_dict() if self.guard else None,
            "scaler": self.scaler.state_dict(),
            "last_eval": {key: _finite_or_none(value) for key, value in self.last_eval.items()},
        }

    def load(self, raw: dict[str, Any]) -> None:
        """Continue from `to_dict`'s result."""
        position = dict(raw["position"])
        position["best_loss"] = math.inf if position["best_loss"] is None else position["best_loss"]
        self.position = Position(**position)
        if self.guard is not None and raw["guard"] is not None:
            self.guard.load_state_dict(raw["guard"])
        self.scaler.load_state_dict(raw["scaler"])
        self.last_eval = {key: math.nan if value is None else value for key, value in raw["last_eval"].items()}


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
