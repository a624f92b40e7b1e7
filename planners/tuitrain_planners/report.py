"""A plan as data: the contract of `tuitrain plan --json`, and every figure by its name there. Nothing is rounded."""

from __future__ import annotations

from typing import Any

from tuitrain_planners.cost import price_basis
from tuitrain_planners.memory.phases import GROUPS
from tuitrain_planners.parameters import embedding_parameters
from tuitrain_planners.plan import Plan
from tuitrain_planners.quantity import Band, Quantity


def figures(plan: Plan) -> dict[str, Quantity]:
    """The plan's quantities by the name they have in `to_dict`: what an explain panel offers."""
    found = {
        "model.parameters": plan.parameters,
        "compute.flop_per_token": plan.flop_per_token,
        "compute.total_flop": plan.total_flop,
        "tokens.planned": plan.tokens,
        "tokens.chinchilla_optimal": plan.optimal_tokens,
        "tokens.tokens_per_parameter": plan.tokens_per_parameter,
        "memory.peak_bytes": plan.memory.step.peak,
        "memory.reserved_bytes": plan.memory.reserved_bytes,
        "memory.device_bytes": plan.memory.device_bytes.mid,
        "time.step_s": plan.throughput.step_s,
        "time.tokens_per_s": plan.throughput.tokens_per_s,
        "time.communication_s": plan.throughput.communication_s,
        "time.duration_s": plan.throughput.duration_s.mid,
        "time.goodput": plan.goodput.share.mid,
        "time.wall_clock_s": plan.goodput.wall_clock_s.mid,
        "storage.checkpoint_bytes": plan.storage.checkpoint_bytes,
        "storage.disk_bytes": plan.storage.disk_bytes,
    }
    if plan.is_pretraining:
        found["loss.predicted"] = plan.loss
    if plan.throughput.mfu is not None:
        found["time.mfu"] = plan.throughput.mfu
    if plan.storage.host_bytes is not None:
        found["storage.host_bytes"] = plan.storage.host_bytes
    for name, band in (
        ("cost.usd", plan.usd), ("energy.kwh", plan.kwh), ("energy.kg_co2e", plan.kg_co2e),
        ("energy.embodied_kg_co2e", plan.embodied_kg_co2e),
    ):  # fmt: skip
        if band is not None:
            found[name] = band.mid
    return found


def to_dict(plan: Plan) -> dict[str, Any]:
    """The contract of `tuitrain plan --json`: SI base units, keys only ever added. null: not computed yet, or not known."""
    request, memory, speed = plan.request, plan.memory, plan.throughput
    mesh = request.mesh
    count = int(plan.parameters.value)
    peak = memory.step.peak_phase
    terms = terms_by_group(peak)
    hours = {name: value / 3600 for name, value in _band(speed.duration_s).items()}
    return {
        "model": {
            "name": request.shape.name, "parameters": count, "active_parameters": int(plan.active_parameters.value),
            "embedding_parameters": int(embedding_parameters(request.shape).value),
            "trainable_parameters": int(plan.trainable_parameters.value),
        },
        "compute": {
            "flop_per_token": plan.flop_per_token.value, "convention": request.convention, "total_flop": plan.total_flop.value,
            "by_convention": {name: each.value for name, each in plan.flop_by_convention.items()},
        },
        "tokens": {
            "planned": _whole(plan.tokens.value), "chinchilla_optimal": plan.optimal_tokens.value,
            "tokens_per_parameter": plan.tokens_per_parameter.value, "optimal_band": _band(plan.optimal_band),
            "by_fit": {name: each.value for name, each in plan.optimal_by_fit.items()},
            "steps": plan.steps, "tokens_per_step": plan.tokens_per_step.value, "unique": request.unique_tokens,
            "verdict": plan.training_verdict,
        },
        "memory": {
            "peak_bytes": peak.value, "phase": peak.name, "reserved_bytes": memory.reserved_bytes.value,
            "device_bytes": _band(memory.device_bytes), "capacity_bytes": memory.capacity_bytes, "verdict": memory.verdict,
            "terms": terms,
            "phases": [{"name": each.name, "bytes": each.value, "terms": terms_by_group(each)} for each in memory.step.phases],
        },
        "zero": [
            {"stage": stage, "peak_bytes": each.step.peak.value, "phase": each.step.peak_phase.name,
             "device_bytes": _band(each.device_bytes), "terms": terms_by_group(each.step.peak_phase), "verdict": each.verdict}
            for stage, each in enumerate(plan.memory_by_stage)
        ],
        "time": {
            "step_s": speed.step_s.value, "communication_s": speed.communication_s.value,
            "tokens_per_s": speed.tokens_per_s.value,
            "mfu": None if speed.mfu is None else speed.mfu.value, "hours": hours,
            "goodput": _band(plan.goodput.share),
            "wall_clock_hours": {name: value / 3600 for name, value in _band(plan.goodput.wall_clock_s).items()},
            "checkpoint_s": plan.goodput.checkpoint_s.value, "checkpoint_period_s": plan.goodput.period_s.value,
            "mtbf_s": plan.goodput.mtbf_s.value,
        },
        "storage": _storage(plan),
        "loss": {
            "predicted": plan.loss.value if plan.is_pretraining else None, "unit": plan.loss.unit, "law": request.law.name,
            "curve": [[step, loss] for step, loss in plan.loss_curve],
        },
        "cost": {"gpu_hours": plan.gpu_hours.mid.value, "usd": _band_or_none(plan.usd), "basis": price_basis(request.economy)},
        "energy": {
            "kwh": _band_or_none(plan.kwh), "kg_co2e": _band_or_none(plan.kg_co2e),
            "embodied_kg_co2e": _band_or_none(plan.embodied_kg_co2e),
        },
        "layout": {
            "dp": mesh.dp, "zero": request.zero, "tp": mesh.tp, "pp": mesh.pp, "vp": mesh.vp, "cp": mesh.cp, "ep": mesh.ep,
            "micro_batch": request.micro_batch, "grad_accum": request.grad_accum, "recompute": request.recompute,
            "compiled": request.compiled, "framework": request.framework, "reshard": request.reshard,
        },
        "warnings": list(plan.warnings),
    }  # fmt: skip


def terms_by_group(phase: Quantity) -> dict[str, float]:
    """Bytes by group; a group the phase does not have is 0."""
    found = {each.name: each.value for each in phase.terms}
    return {group: found.get(group, 0) for group in GROUPS}


def _band_or_none(band: Band | None) -> dict[str, float] | None:
    return None if band is None else _band(band)


def _band(band: Band) -> dict[str, float]:
    return {"low": band.low.value, "mid": band.mid.value, "high": band.high.value}


def _whole(value: float) -> float:
    """Counts are whole in JSON wherever they are whole."""
    return int(value) if float(value).is_integer() else value


def _storage(plan: Plan) -> dict[str, Any]:
    stored, host = plan.storage, plan.request.host

    def value(quantity: Quantity | None) -> float | None:
        return None if quantity is None else quantity.value

    return {
        "checkpoint_bytes": stored.checkpoint_bytes.value, "checkpoints_kept": host.checkpoints_kept,
        "kept_bytes": stored.kept_bytes.value, "dataset_bytes": stored.dataset_bytes.value,
        "disk_bytes": stored.disk_bytes.value, "load_bytes": value(stored.load_bytes),
        "pinned_bytes": value(stored.pinned_bytes), "host_bytes": value(stored.host_bytes),
        "host_capacity_bytes": host.memory_bytes, "host_verdict": stored.host_verdict,
    }  # fmt: skip
