"""The demo: the best model this machine can train on the embedded corpus in a few minutes, planned and started.

Nothing is a fixed toy. The machine is measured, the planner weighs every depth and vocabulary against the minutes, and what it
picks is an ordinary run with an ordinary configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tuitrain.config.resolve import resolve
from tuitrain.config.schema import Config, DataSection, ModelSection, RunSection, SourceSection, TokenizerSection, TrainSection
from tuitrain.runs.home import runs_root as default_runs_root
from tuitrain.runs.launch import launch
from tuitrain.runs.machine import this_machine
from tuitrain.runs.planning import (
    MIN_TRAINING_S,
    STDLIB_BYTES,
    STDLIB_BYTES_PER_TOKEN,
    RunPlan,
    hardware_of,
    plan_for_run,
    request_for,
    training_s,
)
from tuitrain.runs.store import Run, RunStore
from tuitrain_planners import Budget, fit_to_time

OVERHEAD_S = 25.0
"""Seconds of the minutes that are not the trainer's: importing torch twice, preparing the data, saving."""
VOCAB_SIZES = (4096,)
"""What the loss law of the corpus was measured with. It counts all parameters alike, so it would take a larger table of rare
tokens for a better model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """What the demo will do, and why."""

    config: Config
    plan: RunPlan
    budget: Budget


def plan_demo(minutes: float, say: Callable[[str], None]) -> Demo:
    """Measure, weigh, pick."""
    machine = this_machine()
    base = Config(
        run=RunSection(name="demo"),
        train=TrainSection(minutes=max(MIN_TRAINING_S, minutes * 60 - OVERHEAD_S) / 60),
        data=DataSection(sources=(SourceSection(corpus="python-stdlib"),)),
    )
    resolved = resolve(base, machine)
    say(f"machine: {machine.describe()}")
    say("measuring what it does when it trains (a few seconds, once per machine)")
    hardware = hardware_of(resolved, machine)
    say("         " + ", ".join(f"width {width}: {rate / 1e9:.0f} GFLOP/s" for width, rate in hardware.rates))
    budget = fit_to_time(
        training_s(resolved.config),
        replace(request_for(resolved.config, hardware), tokens=None, steps=None),
        unique_tokens_by_vocab={size: STDLIB_BYTES / STDLIB_BYTES_PER_TOKEN[size] for size in VOCAB_SIZES},
        corpus_bytes=STDLIB_BYTES,
    )
    best = budget.best.plan.request.shape
    config = base.model_copy(
        update={
            "model": ModelSection(depth=best.num_layers),
            "tokenizer": TokenizerSection(vocab_size=best.vocab_size),
        }
    )
    return Demo(config=config, plan=plan_for_run(resolve(config, machine), machine, hardware=hardware), budget=budget)


def launch_demo(demo: Demo, runs_root: Path, *, command: str = "tuitrain demo") -> Run:
    """Start what was planned."""
    return launch(demo.config, RunStore(runs_root), plan=demo.plan.to_dict(), command=command)


def start_demo(minutes: float, runs_root: Path | None = None, say: Callable[[str], None] = lambda line: None) -> Run:
    """Plan and launch in one go, for the interface."""
    return launch_demo(plan_demo(minutes, say), runs_root or default_runs_root())
