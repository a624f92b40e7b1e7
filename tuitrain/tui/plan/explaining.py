"""Every number of the Plan screen by a name, so that each can be asked how it came about."""

from __future__ import annotations

from collections.abc import Mapping

from tuitrain_planners import Band, Plan, Quantity, compute_optimal, figures

GROUP = "memory.peak."
PHASE = "memory.phase."
TABLE = "table."
_LAWS_ONLY = ("tokens.chinchilla_optimal", "tokens.tokens_per_parameter")
"""What says nothing about fine-tuning."""


def explainable(plan: Plan, grid: Mapping[str, tuple[object, ...]] | None = None) -> dict[str, Quantity]:
    """Name -> quantity: those of `tuitrain plan --explain`, then what the screen shows beside them."""
    found = {name: each for name, each in figures(plan).items() if plan.is_pretraining or name not in _LAWS_ONLY}
    stored, share = plan.storage, plan.goodput
    for name, band in (
        ("memory.device_bytes", plan.memory.device_bytes), ("time.duration_s", plan.throughput.duration_s),
        ("time.goodput", share.share), ("time.wall_clock_s", share.wall_clock_s),
        ("cost.gpu_hours", plan.gpu_hours), ("cost.usd", plan.usd), ("energy.kwh", plan.kwh), ("energy.kg_co2e", plan.kg_co2e),
    ):  # fmt: skip
        if band is not None:
            found |= _band(name, band)
    found |= {
        "tokens.tokens_per_step": plan.tokens_per_step, "model.active_parameters": plan.active_parameters,
        "model.trainable_parameters": plan.trainable_parameters, "time.waiting_s": plan.throughput.waiting_s,
        "time.checkpoint_s": share.checkpoint_s, "time.checkpoint_period_s": share.period_s, "time.mtbf_s": share.mtbf_s,
        "storage.kept_bytes": stored.kept_bytes, "storage.dataset_bytes": stored.dataset_bytes,
    }  # fmt: skip
    for name, amount in (("storage.load_bytes", stored.load_bytes), ("storage.pinned_bytes", stored.pinned_bytes)):
        if amount is not None:
            found[name] = amount
    found |= {f"{GROUP}{each.name}": each for each in plan.memory.step.peak_phase.terms}
    found |= {f"{PHASE}{each.name}": each for each in plan.memory.step.phases}
    found |= _of_the_law(plan)
    found |= {f"compute.by_convention.{name}": each for name, each in plan.flop_by_convention.items()}
    for precision, stages in (grid or {}).items():
        for stage, each in enumerate(stages):
            found[table_cell(precision, stage)] = each.device_bytes.mid  # type: ignore[attr-defined]
    return found


def _of_the_law(plan: Plan) -> dict[str, Quantity]:
    """What scaling laws say; of adapters they say nothing."""
    if not plan.is_pretraining:
        return {}
    best, tokens = compute_optimal(plan.request.law, six_nd(plan))
    return {
        **_band("tokens.chinchilla_optimal", plan.optimal_band),
        **{f"tokens.by_fit.{name}": each for name, each in plan.optimal_by_fit.items()},
        "chart.optimal_parameters": best,
        "chart.optimal_tokens": tokens,
    }


def _band(name: str, band: Band) -> dict[str, Quantity]:
    return {name: band.mid, f"{name}.low": band.low, f"{name}.high": band.high}


def table_cell(precision: str, stage: int) -> str:
    """Name of a cell of the ZeRO x precision table."""
    return f"{TABLE}{precision}.zero{stage}"


def six_nd(plan: Plan) -> float:
    """Compute as scaling laws count it: 6 N D."""
    return 6 * plan.parameters.value * plan.tokens.value
