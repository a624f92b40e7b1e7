"""What differs from stage to stage: data, model, loss. Everything after `build` is the same for all."""

from __future__ import annotations

from pathlib import Path

from tuitrain.config.resolve_tuning import EXAMPLE_STAGES
from tuitrain.config.resolved import Resolved
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.setup import Setup
from tuitrain.trainer.telemetry import Telemetry

__all__ = ["build"]


def build(run_dir: Path, resolved: Resolved, world: World, telemetry: Telemetry, peak_flop_per_s: float) -> Setup:
    """All parts of a run, weights initialised or loaded."""
    if resolved.config.run.stage in EXAMPLE_STAGES:
        from tuitrain.trainer.stages.examples import build_examples

        return build_examples(run_dir, resolved, world, telemetry, peak_flop_per_s)
    from tuitrain.trainer.stages.text import build_text

    return build_text(run_dir, resolved, world, telemetry, peak_flop_per_s)
