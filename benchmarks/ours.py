"""Our side of the comparisons: a run exactly as `tuitrain train` makes it, and what its event log says of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.common import median
from tuitrain.events.fold import RunState
from tuitrain.runs.home import runs_root
from tuitrain.runs.store import Run, RunStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A finished run."""

    state: RunState
    run: Run
    config: dict[str, Any]
    """As settled: every value that was derived is in it."""

    @property
    def step_s(self) -> float:
        """Median step, the first third (warm caches, clocks) left out."""
        steps = self.state.steps.column("step_s")
        return median([float(each) for each in steps[len(steps) // 3 :]])

    @property
    def tokens_per_s(self) -> float:
        """Of that step."""
        return float(self.state.steps.column("tokens")[-1]) / self.step_s

    def facts(self) -> dict[str, float]:
        """For the results."""
        start, end = self.state.start, self.state.end
        assert start is not None
        assert end is not None
        return {
            "parameters": start.data["parameters"],
            "steps": int(self.state.steps.column("step")[-1]),
            "tokens": float(np.nansum(self.state.steps.column("tokens"))),
            "step_s": self.step_s,
            "tokens_per_s": self.tokens_per_s,
            "wall_s": end.data["wall_s"],
        }


def train(*overrides: str) -> Trained:
    """`tuitrain train OVERRIDES`, to the end."""
    before = {run.run_id for run in RunStore(runs_root()).list()}
    subprocess.run([sys.executable, "-m", "tuitrain", "train", *overrides], check=True, stdout=subprocess.DEVNULL)
    (run,) = [run for run in RunStore(runs_root()).list() if run.run_id not in before]
    return Trained(state=run.fold(), run=run, config=run.resolved()["config"])
