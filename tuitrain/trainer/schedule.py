"""Learning-rate schedules: the multiplier of the peak rate as a pure function of the step. No state, so nothing to resume.

cosine  Loshchilov and Hutter 2016, arXiv:1608.03983 wsd     warm-up, stable, decay: Hu et al. 2024 (MiniCPM),
arXiv:2404.06395; linear decay as in Haegele et al. 2024, arXiv:2405.18392 linear  decay from the first step on: Bergsma et
al. 2025, arXiv:2502.15938
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Multiplier of the peak learning rate at each optimizer step, steps counted from 0."""

    kind: str
    total_steps: int
    warmup_steps: int
    decay_frac: float
    min_lr_frac: float

    def __call__(self, step: int) -> float:
        """The multiplier at `step`: positive from the first step on, `min_lr_frac` after the last."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        start = self.decay_start
        if step < start:
            return 1.0
        done = min(1.0, (step - start) / max(1, self.total_steps - start))
        shape = 0.5 * (1 + math.cos(math.pi * done)) if self.kind == "cosine" else 1.0 - done
        return self.min_lr_frac + (1 - self.min_lr_frac) * shape

    @property
    def decay_start(self) -> int:
        """First step of the decay. Until then nothing depends on the length of the run."""
        if self.kind != "wsd":
            return self.warmup_steps
        return max(self.warmup_steps, self.total_steps - round(self.total_steps * self.decay_frac))
