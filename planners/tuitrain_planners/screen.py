"""A plan as one screen of text, and as Markdown. Numbers are rounded here and nowhere else."""

from __future__ import annotations

import re
import textwrap
from typing import Final

from tuitrain_planners.grid import by_precision
from tuitrain_planners.memory.phases import GROUPS
from tuitrain_planners.memory.sharding import STAGES
from tuitrain_planners.plan import Plan
from tuitrain_planners.published import TRAINED_TOKENS
from tuitrain_planners.quantity import Band, Quantity
from tuitrain_planners.report import terms_by_group
from tuitrain_planners.scaling import training_verdict
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.units import format_bytes, format_count, format_value


def to_text(plan: Plan, width: int = 100) -> str:
    """One screen: what is trained, for how long, in how much memory, to which loss."""
    shown = rows(plan)
    margin = max(len(name) for name, _ in shown) + 2
    lines = [plan.request.shape.name + " on " + (plan.request.hardware.title or plan.request.hardware.name), ""]
    for name, parts in shown:
        kept = _UNIT_GAP.sub(_NO_BREAK, parts)
        wrapped = textwrap.wrap(
            f"{name:<{margin}}{kept}", width, subsequent_indent=" " * margin, break_long_words=False, break_on_hyphens=False
        )
        lines += (line.replace(_NO_BREAK, " ") for line in wrapped)
    if plan.request.mesh.devices > 1:
        lines += ["", *_grid(plan)]
    for warning in plan.warnings:
        lines += ["", *textwrap.wrap(f"warning: {warning}", width, subsequent_indent="  ")]
    return "\n".join(lines) + "\n"


_NO_BREAK: Final = "\xa0"
_UNIT_GAP: Final = re.compile(r"(?<=[0-9]) (?=(?:d|h|min|s|ms|[KMGT]iB|bytes|[kMGTPEZY]?FLOP|[kMG]Wh|kg|k?t|tokens)\b)")
"""Between a number and its unit no line ends."""
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
    fits = ", ".join(_fit(plan, name, each) for name, each in plan.optimal_by_fit.items())
    pairs = "" if request.reference == "none" else " pair" if request.micro_batch == 1 else " pairs"
    batch = f"sequence {request.seq_len} x micro-batch {request.micro_batch}{pairs} x accumulate {request.grad_accum}"
    batch += f" x {request.mesh.dp} data-parallel"
    found = [
        ("model", f"{_counts(plan)}: {_sizes(shape)}"),
        ("data", _data(plan)),
        ("optimal", f"{fits} tokens"),
        ("steps", f"{plan.steps:,} of {_show(plan.tokens_per_step)} ({batch})"),
        ("compute", f"{_show(plan.total_flop)}, {_show(plan.flop_per_token)} ({request.convention})"),
        ("memory", f"{format_bytes(peak.value)} at its peak, phase {peak.name}{_stage(plan)}: {terms}"),
        ("device", f"{_show_band(memory.device_bytes)} of {format_bytes(memory.capacity_bytes)}: {memory.verdict}"),
        ("speed", f"{_show(speed.step_s)} per step{sent}, {_show(speed.tokens_per_s)}{mfu}"),
        ("time", f"{_show_band(speed.duration_s)}, training steps only{_wall_clock(plan)}"),
        ("disk", _disk(plan)),
        ("cost", _cost(plan)),
        ("loss", f"{_show(plan.loss)} by {request.law.name}, fitted on {request.law.corpus}"),
        ("recipe", _recipe(plan)),
    ]
    return found if plan.is_pretraining else [row for row in found if row[0] not in ("optimal", "loss")]


def _fit(plan: Plan, name: str, tokens: Quantity) -> str:
    """A fit's optimum; the plan's own law with its band."""
    text, band = f"{name} {format_count(tokens.value)}", plan.optimal_band
    if name != plan.request.law.name or band.low.value == band.high.value:
        return text
    return f"{text} ({format_count(band.low.value)} to {format_count(band.high.value)})"


def _published(plan: Plan) -> str:
    """How a published model of this name was trained."""
    found = TRAINED_TOKENS.get(plan.request.shape.name)
    if found is None:
        return ""
    ratio = found[0] / plan.parameters.value
    verdict = training_verdict(found[0], plan.optimal_tokens.value).partition(";")[0]
    return f"; as published: {format_count(found[0])}, {_ratio(ratio)} per parameter, {verdict}"


def _counts(plan: Plan) -> str:
    """Parameters, and how many of them a token uses and training moves, where these are fewer."""
    text = f"{format_count(plan.parameters.value)} parameters"
    if plan.active_parameters.value < plan.parameters.value:
        text += f", {format_count(plan.active_parameters.value)} of them active"
    if (adapter := plan.request.adapter) is not None:
        kept = f"frozen in {adapter.base}" if adapter.base != "16bit" else "frozen"
        mark = "," if plan.active_parameters.value < plan.parameters.value else ""
        text += f"{mark} {kept}, {format_count(plan.trainable_parameters.value)} trained in adapters of rank {adapter.rank}"
    return text


def _data(plan: Plan) -> str:
    """How much data; for pretraining, whether it is enough."""
    if not plan.is_pretraining:
        return f"{_show(plan.tokens)}; scaling laws do not speak about fine-tuning"
    each = _ratio(plan.tokens_per_parameter.value)
    return f"{_show(plan.tokens)}, {each} per parameter; {plan.training_verdict}{_published(plan)}"


def _ratio(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _stage(plan: Plan) -> str:
    stage, stages = plan.memory.step.stage, plan.request.mesh.pp
    return "" if stage == "only" else f" of the {stage} of {stages} stages"


def _recipe(plan: Plan) -> str:
    """How it is trained."""
    request, mesh = plan.request, plan.request.mesh
    degrees = {"tp": mesh.tp, "pp": mesh.pp, "vp": mesh.vp, "cp": mesh.cp, "ep": mesh.ep}
    layout = " x ".join(f"{name} {degree}" for name, degree in degrees.items() if degree > 1)
    parts = [
        request.precision,
        request.optimizer,
        _zero(plan),
        layout,
        f"recompute {request.recompute}",
        f"loss head {request.loss_head}",
        "" if request.attention == "flash" else f"{request.attention} attention",
        "" if request.offload == "none" else f"{request.offload} offloaded",
        "" if request.reference == "none" else f"DPO, reference: {request.reference}",
        "compiled" if request.compiled else "eager",
        f"as {request.framework} does it",
    ]
    return ", ".join(filter(None, parts))


def _zero(plan: Plan) -> str:
    """The stage and how many devices share; stage 0 shares nothing."""
    request = plan.request
    if request.mesh.state_ranks == 1:
        return ""
    return f"ZeRO-{request.zero}" + (f" over {request.sharding().ranks}" if request.zero else "")


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


def _cost(plan: Plan) -> str:
    """Money, energy, carbon; what is not known says what would make it known."""
    hours = plan.gpu_hours.mid.value
    amount = f"{hours:.3g}" if hours < 100 else f"{hours:,.0f}" if hours < 1e6 else format_count(hours)
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
    parts = [f"{shape.architecture}, {shape.num_layers} layers of width {shape.hidden_size}", heads]
    if (experts := shape.experts) is not None:
        parts.append(f"{experts.per_token} of {experts.num} experts")
    if (window := shape.window) is not None:
        parts.append(f"windows of {window.size} in {window.num_layers} layers")
    return ", ".join((*parts, f"vocabulary {shape.vocab_size}"))


def _show(quantity: Quantity) -> str:
    return format_value(quantity.value, quantity.unit)


def _show_band(band: Band) -> str:
    return f"{_show(band.mid)} ({_show(band.low)} to {_show(band.high)})"
