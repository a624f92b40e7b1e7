"""A plan as data, as one screen of text, as Markdown. Numbers are never rounded in data, always in text."""

from __future__ import annotations

import textwrap
from typing import Any, Final

from tuitrain_planners.cost import price_basis
from tuitrain_planners.grid import by_precision
from tuitrain_planners.memory.phases import GROUPS
from tuitrain_planners.memory.sharding import STAGES
from tuitrain_planners.parameters import embedding_parameters
from tuitrain_planners.plan import Plan
from tuitrain_planners.quantity import Band, Quantity
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.units import format_bytes, format_count, format_value


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
        "loss.predicted": plan.loss,
    }
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
            "name": request.shape.name, "parameters": count, "active_parameters": count,
            "embedding_parameters": int(embedding_parameters(request.shape).value), "trainable_parameters": count,
        },
        "compute": {
            "flop_per_token": plan.flop_per_token.value, "convention": request.convention, "total_flop": plan.total_flop.value,
            "by_convention": {name: each.value for name, each in plan.flop_by_convention.items()},
        },
        "tokens": {
            "planned": _whole(plan.tokens.value), "chinchilla_optimal": plan.optimal_tokens.value,
            "tokens_per_parameter": plan.tokens_per_parameter.value,
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
            "predicted": plan.loss.value, "unit": plan.loss.unit, "law": request.law.name,
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


def to_text(plan: Plan, width: int = 100) -> str:
    """One screen: what is trained, for how long, in how much memory, to which loss."""
    shown = rows(plan)
    margin = max(len(name) for name, _ in shown) + 2
    lines = [plan.request.shape.name + " on " + (plan.request.hardware.title or plan.request.hardware.name), ""]
    for name, parts in shown:
        lines += textwrap.wrap(
            f"{name:<{margin}}{parts}", width, subsequent_indent=" " * margin, break_long_words=False, break_on_hyphens=False
        )
    if plan.request.mesh.devices > 1:
        lines += ["", *_grid(plan)]
    for warning in plan.warnings:
        lines += ["", *textwrap.wrap(f"warning: {warning}", width, subsequent_indent="  ")]
    return "\n".join(lines) + "\n"


GRID_PRECISIONS: Final = ("fp32", "bf16-mixed", "bf16-pure")
_MARKS: Final = {"fits": "fits", "tight": "tight", "oom": "no"}


def _grid(plan: Plan) -> list[str]:
    """What one device needs under every ZeRO stage in every precision; this plan's own cell in brackets."""
    request = plan.request
    columns = by_precision(request, dict.fromkeys((*GRID_PRECISIONS, request.precision)))
    table = [["ZeRO", *columns]]
    for stage in STAGES:
        cells = []
        for name, stages in columns.items():
            text = f"{format_bytes(stages[stage].device_bytes.mid.value)} {_MARKS[stages[stage].verdict]}"
            cells.append(f"[{text}]" if (stage, name) == (request.zero, request.precision) else text)
        table.append([str(stage), *cells])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.rjust(size) for cell, size in zip(row, widths, strict=True)) for row in table]
    return [f"memory per device of {request.mesh.devices}, everything else as above", *lines]


def to_markdown(plan: Plan) -> str:
    """The same rows as a table, and the phases of the memory below it."""
    lines = [
        f"# Plan: {plan.request.shape.name} on {plan.request.hardware.title or plan.request.hardware.name}",
        "",
        "| | |",
        "|--|--|",
    ]
    lines += [f"| {name} | {text} |" for name, text in rows(plan)]
    lines += ["", f"## Memory by phase (peak: {plan.memory.step.peak_phase.name})", ""]
    lines += ["| phase | total | " + " | ".join(GROUPS) + " |", "|--|--:|" + "--:|" * len(GROUPS)]
    for phase in plan.memory.step.phases:
        cells = [format_bytes(value) if value else "-" for value in terms_by_group(phase).values()]
        lines.append(f"| {phase.name} | {format_bytes(phase.value)} | " + " | ".join(cells) + " |")
    if plan.warnings:
        lines += ["", "## Warnings", "", *(f"- {warning}" for warning in plan.warnings)]
    return "\n".join(lines) + "\n"


def rows(plan: Plan) -> list[tuple[str, str]]:
    """(label, text): what both text and Markdown show."""
    request, memory, speed = plan.request, plan.memory, plan.throughput
    peak, shape = memory.step.peak_phase, request.shape
    terms = ", ".join(f"{name} {format_bytes(value)}" for name, value in terms_by_group(peak).items() if value)
    mfu = "" if speed.mfu is None else f", MFU {speed.mfu.value:.0%} ({request.convention})"
    send, wait = speed.communication_s, speed.waiting_s
    sent = "" if not send.value else f" ({_show(send)} of communication, {_show(wait)} of it not hidden)"
    fits = ", ".join(f"{name} {format_count(each.value)}" for name, each in plan.optimal_by_fit.items())
    batch = f"sequence {request.seq_len} x micro-batch {request.micro_batch} x accumulate {request.grad_accum}"
    batch += f" x devices {request.mesh.devices}"
    return [
        ("model", f"{format_count(plan.parameters.value)} parameters: {_sizes(shape)}"),
        ("data", f"{_show(plan.tokens)}, {plan.tokens_per_parameter.value:.3g} per parameter; {plan.training_verdict}"),
        ("optimal", f"{fits} tokens"),
        ("steps", f"{plan.steps} of {_show(plan.tokens_per_step)} ({batch})"),
        ("compute", f"{_show(plan.total_flop)}, {_show(plan.flop_per_token)} ({request.convention})"),
        ("memory", f"{format_bytes(peak.value)} at its peak, phase {peak.name}: {terms}"),
        ("device", f"{_show_band(memory.device_bytes)} of {format_bytes(memory.capacity_bytes)}: {memory.verdict}"),
        ("speed", f"{_show(speed.step_s)} per step{sent}, {_show(speed.tokens_per_s)}{mfu}"),
        ("time", f"{_show_band(speed.duration_s)}, training steps only{_wall_clock(plan)}"),
        ("disk", _disk(plan)),
        ("cost", _cost(plan)),
        ("loss", f"{_show(plan.loss)} by {request.law.name}, fitted on {request.law.corpus}"),
        (
            "recipe",
            ", ".join(
                (
                    request.precision,
                    request.optimizer,
                    f"recompute {request.recompute}",
                    f"loss head {request.loss_head}",
                    "compiled" if request.compiled else "eager",
                    f"as {request.framework} does it",
                )
            ),
        ),
    ]


def _wall_clock(plan: Plan) -> str:
    """What saving and failures make of it, where they matter: several devices, or more than a day."""
    if plan.request.mesh.devices == 1 and plan.throughput.duration_s.mid.value <= 86_400:
        return ""
    made = plan.goodput
    return (
        f"; wall clock {_show_band(made.wall_clock_s)}: {made.share.mid.value:.1%} of it trains, saving every "
        f"{_show(made.period_s)}, a failure every {_show(made.mtbf_s)}"
    )


def _disk(plan: Plan) -> str:
    stored, host = plan.storage, plan.request.host
    text = (
        f"{format_bytes(stored.checkpoint_bytes.value)} a checkpoint, {host.checkpoints_kept} kept and one being written; "
        f"{format_bytes(stored.dataset_bytes.value)} of tokens"
    )
    if stored.host_bytes is None:
        return text
    known = "" if host.memory_bytes is None else f" of {format_bytes(host.memory_bytes)}: {stored.host_verdict}"
    return f"{text}; RAM of a machine {format_bytes(stored.host_bytes.value)}{known}"


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


def _cost(plan: Plan) -> str:
    """Money, energy, carbon; what is not known says what would make it known."""
    hours = plan.gpu_hours.mid.value
    amount = f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
    device, economy = plan.request.hardware.name, plan.request.economy
    if plan.usd is not None:
        money = _show_band(plan.usd) + (" at spot prices" if economy.spot else "")
    elif economy.electricity_usd_per_kwh is not None:
        money = f"the power of {device} is not known, so its electricity has no price"
    else:
        money = f"no {'spot ' if economy.spot else ''}price known for {device} (tuitrain plan --price USD_PER_HOUR)"
    made = f"; {_show(plan.embodied_kg_co2e.mid)} of making the devices" if plan.embodied_kg_co2e is not None else ""
    if plan.kwh is None or plan.kg_co2e is None:
        return f"{amount} device hours; {money}{made}"
    where = f"{economy.grid.name.rpartition(', ')[2]}: {economy.grid.value:g} kg/kWh"
    return f"{amount} device hours; {money}; {_show(plan.kwh.mid)}; {_show(plan.kg_co2e.mid)} ({where}){made}"


def _sizes(shape: ModelShape) -> str:
    heads = f"{shape.num_heads} heads" + (f" ({shape.num_kv_heads} key/value)" if shape.num_kv_heads != shape.num_heads else "")
    return (
        f"{shape.architecture}, {shape.num_layers} layers of width {shape.hidden_size}, {heads}, vocabulary {shape.vocab_size}"
    )


def _show(quantity: Quantity) -> str:
    return format_value(quantity.value, quantity.unit)


def _show_band(band: Band) -> str:
    return f"{_show(band.mid)} ({_show(band.low)} to {_show(band.high)})"


def _whole(value: float) -> float:
    """Counts are whole in JSON wherever they are whole."""
    return int(value) if float(value).is_integer() else value


def terms_by_group(phase: Quantity) -> dict[str, float]:
    """Bytes by group; a group the phase does not have is 0."""
    found = {each.name: each.value for each in phase.terms}
    return {group: found.get(group, 0) for group in GROUPS}


def _band_or_none(band: Band | None) -> dict[str, float] | None:
    return None if band is None else _band(band)


def _band(band: Band) -> dict[str, float]:
    return {"low": band.low.value, "mid": band.mid.value, "high": band.high.value}
