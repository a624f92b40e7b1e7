"""Guards: is this step fit to change the weights? Asked after the backward pass and before the optimizer.

NaN and infinities always trip: the comparison is written so that NaN fails it (`nan > limit` is False, which is how a
watchdog of a peer let NaN pass, and reset itself on it). A spike is a loss or gradient norm `sigma` standard deviations
above the mean of the last steps (OLMo 2's SkipStep, arXiv:2501.00656 section 3.3). Offending steps never enter the
statistics.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

MIN_HISTORY = 16
"""Steps before spikes are judged: the first losses fall too fast to have a spread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trip:
    """Why a step must not change the weights."""

    reason: str
    value: float
    limit: float


@dataclass(slots=True)
class StepGuard:
    """Statistics of the last `window` good steps, and the judgement of the next."""

    sigma: float
    window: int
    losses: deque[float] = field(default_factory=deque)
    norms: deque[float] = field(default_factory=deque)
    consecutive: int = 0

    def judge(self, loss: float, grad_norm: float) -> Trip | None:
        """None when the step is good, and then it joins the statistics."""
        trip = self._judge(loss, grad_norm)
        if trip is not None:
            self.consecutive += 1
            return trip
        self.consecutive = 0
        for history, value in ((self.losses, loss), (self.norms, grad_norm)):
            history.append(value)
            if len(history) > self.window:
                history.popleft()
        return None

    def _judge(self, loss: float, grad_norm: float) -> Trip | None:
        for name, value, history in (("loss", loss, self.losses), ("grad", grad_norm, self.norms)):
            if not math.isfinite(value):
                return Trip(reason=f"non_finite_{name}", value=value, limit=math.inf)
            if len(history) >= MIN_HISTORY and not value <= (limit := _limit(history, self.sigma)):
                return Trip(reason=f"{name}_spike", value=value, limit=limit)
        return None

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint: a resumed run judges as the uninterrupted one would."""
        return {"losses": list(self.losses), "norms": list(self.norms), "consecutive": self.consecutive}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.losses, self.norms = deque(state["losses"]), deque(state["norms"])
        self.consecutive = int(state["consecutive"])


def _limit(history: deque[float], sigma: float) -> float:
    mean = sum(history) / len(history)
    variance = sum((each - mean) ** 2 for each in history) / (len(history) - 1)
    # A spread below 1 % of the mean would make ordinary noise of a flat curve a spike.
    return mean + sigma * max(math.sqrt(variance), 0.01 * abs(mean))
