"""The curves a run can have: one entry per metric, read by charts, tiles, tabs and the explain panel alike. Which of them a run
has, `metrics_of` says: rewards are those of preference tuning, bits per byte those of text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tuitrain.tui.render import format as fmt
from tuitrain.tui.render.scale import Kind
from tuitrain.tui.render.view import RunView

Runs = Literal["all", "text", "preference"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Companion:
    """A second curve of a chart."""

    column: str
    name: str
    style: str
    dotted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One measured quantity."""

    key: str
    title: str
    """Short name, with unit where the axis needs one."""
    column: str
    source: Literal["steps", "evals"] = "steps"
    runs: Runs = "all"
    """Which runs have it."""
    eval_column: str = ""
    """What of an evaluation is drawn as a point."""
    companions: tuple[Companion, ...] = ()
    y_scale: Kind = "linear"
    style: str = "series.blue"
    show: Callable[[float], str] = fmt.number
    """A value with its unit."""
    plan_key: str = ""
    """Field of the plan event with the planned value."""
    better: Literal["", "low", "high"] = ""
    """Which side of the plan is the good one."""
    unit: Literal["", "bytes", "percent"] = ""
    """What the axis converts values to."""
    meaning: str = ""
    """What it is, for the explain panel."""
    preference_meaning: str = ""
    """The same in preference tuning, where it is something else."""
    measured: str = ""
    """How the number shown came about."""
    formula_keys: tuple[str, ...] = ()
    """Names under which plan.json may explain the planned value."""


METRICS: Final = (
    Metric(
        key="loss",
        title="loss",
        column="loss",
        eval_column="loss",
        y_scale="log",
        plan_key="loss",
        better="low",
        meaning="Cross-entropy of the next token in nats. exp(loss) is the perplexity; ln(vocabulary) is guessing.",
        preference_meaning="What the preference costs: small where better answers have gained on worse ones. For dpo, ln 2 ="
        " 0.693 is a model that has not moved from its reference. It says nothing of how well the model writes: samples do.",
        measured="training loss of the last step over the global batch; the bright curve is its de-biased exponential average",
        formula_keys=("loss.predicted",),
    ),
    Metric(
        key="margin",
        title="margin",
        column="reward_margin",
        runs="preference",
        eval_column="reward_margin",
        companions=(
            Companion(column="reward_chosen", name="better", style="series.orange"),
            Companion(column="reward_rejected", name="worse", style="plan", dotted=True),
        ),
        better="high",
        meaning="Reward of the better answers less that of the worse ones. A reward says how far training has moved the model"
        " towards an answer. The margin should grow; both rewards may fall, and where the better answers' falls far, the model"
        " unlearns them too.",
        measured="mean of the last 20 steps",
    ),
    Metric(
        key="accuracy",
        title="accuracy",
        column="accuracy",
        runs="preference",
        eval_column="accuracy",
        show=fmt.percent,
        better="high",
        unit="percent",
        meaning="Share of pairs whose better answer has the larger reward. 50% is chance; all right on training pairs and not"
        " on held-out ones is learning by heart.",
        measured="mean of the last 20 steps: a single step has few pairs",
    ),
    Metric(
        key="bits",
        title="bits/byte",
        column="bits_per_byte",
        source="evals",
        runs="text",
        style="series.orange",
        plan_key="bits_per_byte",
        better="low",
        meaning="Validation loss per byte of the original text, in bits. Comparable between tokenizers.",
        measured="the last evaluation on held-out documents",
        formula_keys=("loss.bits_per_byte",),
    ),
    Metric(
        key="grad",
        title="grad norm",
        column="grad_norm",
        y_scale="robust",
        style="series.orange",
        meaning="Length of the whole gradient before clipping. Spikes come before divergence.",
        measured="the last step",
    ),
    Metric(
        key="speed",
        title="tok/s",
        column="tokens_per_s",
        y_scale="robust",
        show=fmt.si,
        plan_key="tokens_per_s",
        better="high",
        meaning="Training tokens per second over all devices.",
        measured="median of the last 20 steps",
        formula_keys=("time.tokens_per_s", "time.step_s"),
    ),
    Metric(
        key="mfu",
        title="MFU",
        column="mfu_frac",
        y_scale="robust",
        show=fmt.percent,
        plan_key="mfu_frac",
        better="high",
        unit="percent",
        meaning="Model FLOP utilisation: the share of the device's peak that the model's own arithmetic uses.",
        measured="FLOP per token x tokens per second / peak, median of the last 20 steps",
        formula_keys=("time.mfu", "compute.flop_per_token"),
    ),
    Metric(
        key="memory",
        title="memory",
        column="memory_bytes",
        show=fmt.size,
        style="series.orange",
        plan_key="peak_bytes",
        better="low",
        unit="bytes",
        meaning="Memory of one device in use: allocated peak of the step on CUDA, resident set on CPU.",
        measured="largest value of this attempt; with several processes, that of the fullest. The chart shows rank 0.",
        formula_keys=("memory.peak_bytes", "memory.device_bytes", "memory.reserved_bytes"),
    ),
    Metric(
        key="lr",
        title="learning rate",
        column="lr",
        show=fmt.exponent,
        meaning="Learning rate of the first parameter group.",
        measured="the last step",
    ),
)
BY_KEY: Final = {metric.key: metric for metric in METRICS}


def has_rewards(view: RunView) -> bool:
    """Whether it is a run of preference tuning: its configuration says so, or its log has rewards."""
    columns = (view.state.steps.column("reward_margin"), view.state.evals.column("reward_margin"))
    return view.stage == "dpo" or any(bool(np.isfinite(column).any()) for column in columns)


def metrics_of(view: RunView) -> tuple[Metric, ...]:
    """The metrics of a run, in the order of their tabs."""
    unwanted: Runs = "text" if has_rewards(view) else "preference"
    return tuple(metric for metric in METRICS if metric.runs != unwanted)


def keys_of(view: RunView) -> tuple[str, ...]:
    """Their keys."""
    return tuple(metric.key for metric in metrics_of(view))


def axis_unit(metric: Metric, largest: float) -> tuple[float, str]:
    """(factor, unit name) that bring values of a metric to the axis."""
    if metric.unit == "percent":
        return 100.0, "%"
    if metric.unit == "bytes":
        return (2.0**-30, "GiB") if largest >= 2**30 else (2.0**-20, "MiB")
    return 1.0, ""


def finite_max(values: NDArray[np.float64]) -> float:
    """The largest finite value; 0 when there is none."""
    if len(values) > 1 << 13:  # units need an order of magnitude, not the last digit
        values = values[:: len(values) >> 12]
    values = values[np.isfinite(values)]
    return float(values.max()) if len(values) else 0.0
