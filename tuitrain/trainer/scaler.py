"""Dynamic loss scaling for fp16 (Micikevicius et al. 2017, arXiv:1710.03740 section 3.2): scale up while it goes well, down
on overflow.

Own, and small, because the scale belongs into the step's decision (an overflow is not a spike) and into the checkpoint,
exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GROWTH_INTERVAL = 500
MAX_SCALE = 2.0**24


@dataclass(slots=True)
class LossScaler:
    """The factor on the loss. 1 and never changed unless `enabled`."""

    enabled: bool
    scale: float = 1.0
    good_steps: int = 0

    def __post_init__(self) -> None:
        if self.enabled and self.scale == 1.0:
            self.scale = 2.0**16

    def overflowed(self) -> None:
        """Halve the scale: a gradient was not finite at this one."""
        self.scale, self.good_steps = max(1.0, self.scale / 2), 0

    def went_well(self) -> None:
        """Count a good step; double the scale after enough of them."""
        if not self.enabled:
            return
        self.good_steps += 1
        if self.good_steps >= GROWTH_INTERVAL:
            self.scale, self.good_steps = min(MAX_SCALE, self.scale * 2), 0

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"scale": self.scale, "good_steps": self.good_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.scale, self.good_steps = float(state["scale"]), int(state["good_steps"])
