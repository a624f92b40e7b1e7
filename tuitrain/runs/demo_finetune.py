"""The fine-tuning demo: a real chat model of 135 M parameters learns to explain Python's standard library in its own words, by
QLoRA, in a few minutes and without any download. An ordinary run with an ordinary configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuitrain.config.resolve import resolve
from tuitrain.config.schema import (
    Config,
    DataSection,
    EvalSection,
    MethodSection,
    ModelSection,
    OptimSection,
    RunSection,
    SourceSection,
    TrainSection,
)
from tuitrain.runs.base_model import DEMO_MODEL
from tuitrain.runs.launch import launch
from tuitrain.runs.machine import this_machine
from tuitrain.runs.planning import MIN_TRAINING_S, RunPlan, plan_for_run
from tuitrain.runs.store import Run, RunStore

EXAMPLES: Final = 200
OVERHEAD_S: Final = 75.0
"""Seconds of the minutes that are not the training's: dequantising the file, measuring the machine, importing torch twice, the
flight check, answering before and after."""
STEP_TOKENS: Final = 512
"""Many small steps: in minutes on a CPU they move an adapter further than few large ones (measured: 33 steps of 512 tokens took
the held-out loss from 2.75 to 2.02)."""
LR: Final = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneDemo:
    """What the demo will do."""

    config: Config
    plan: RunPlan


def plan_finetune_demo(minutes: float, say: Callable[[str], None]) -> FinetuneDemo:
    """Find the model, measure the machine, plan."""
    config = Config(
        run=RunSection(name="demo-finetune", stage="sft"),
        model=ModelSection(base=DEMO_MODEL),
        method=MethodSection(kind="qlora"),
        data=DataSection(sources=(SourceSection(corpus="python-docstrings", limit=EXAMPLES),)),
        train=TrainSection(minutes=max(MIN_TRAINING_S, minutes * 60 - OVERHEAD_S) / 60, seq_len=STEP_TOKENS, batch_sequences=1),
        optim=OptimSection(lr=LR),
        eval=EvalSection(sample_tokens=40),
    )
    machine = this_machine()
    say(f"machine: {machine.describe()}")
    resolved = resolve(config, machine, say)
    say("measuring what it does when it trains (a few seconds, once per machine)")
    return FinetuneDemo(config=config, plan=plan_for_run(resolved, machine))


def launch_finetune_demo(demo: FinetuneDemo, runs_root: Path, *, command: str) -> Run:
    """Start what was planned."""
    return launch(demo.config, RunStore(runs_root), plan=demo.plan.to_dict(), command=command)


@dataclass(frozen=True, kw_only=True, slots=True)
class BeforeAfter:
    """What the training changed."""

    loss_before: float
    loss_after: float
    answers: tuple[tuple[str, str, str], ...]
    """(question, before, after)."""


def before_and_after(run: Run) -> BeforeAfter | None:
    """From the run's own events; None when it did not come so far."""
    state = run.fold()
    losses = state.evals.column("loss")
    first = {event.data["index"]: event for event in reversed(state.samples) if event.step == 0}
    last = {event.data["index"]: event for event in state.samples if event.step > 0}
    if len(losses) < 2 or not first:
        return None
    answers = tuple(
        (str(first[index].data["prompt"]).strip(), str(first[index].data["text"]), str(last[index].data["text"]))
        for index in sorted(first)
        if index in last
    )
    return BeforeAfter(loss_before=float(losses[0]), loss_after=float(losses[-1]), answers=answers)
