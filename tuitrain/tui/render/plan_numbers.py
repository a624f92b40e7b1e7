"""The numbers of a plan, one subject a line: model, tokens, compute, speed, time, money, energy, disk, loss."""

from __future__ import annotations

from tuitrain.text import clean_line
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.marked import Marked, Part, row_of
from tuitrain.tui.render.panes import fill
from tuitrain_planners import Band, Plan, Quantity, format_count, format_value

LABEL_CELLS = 9
NUMBER_ROWS = 11
"""Rows a pane should have room for; further ones are shown where there is more."""
MORE_ROWS = 3
_SPARE = ("host", "optimum", "steps", "disk", "wall", "carbon", "energy")
"""Which go first where there are fewer."""
Parts = list[list[Part]]


def numbers_block(plan: Plan, width: int, height: int, glyphs: Glyphs) -> Marked:
    """As many rows as there is room for, and below them what the reader should know before believing them."""
    block = Marked()
    rows = number_rows(plan, glyphs)
    for spare in _SPARE:
        if len(rows) > height:
            rows = [row for row in rows if row[0] != spare]
    for label, parts in rows:
        block.add(row_of(label, parts, width, LABEL_CELLS, glyphs.separator))
    for warning in plan.warnings:
        lines = fill(clean_line(warning), width - 2)
        if len(block.lines) + len(lines) > height:
            break
        block.lines += [(("! " if index == 0 else "  ", "alert"), (text, "bad")) for index, text in enumerate(lines)]
    return block


def number_rows(plan: Plan, glyphs: Glyphs) -> list[tuple[str, Parts]]:
    """(label, parts in the order of their weight) of every row."""
    each = format_count(plan.tokens_per_step.value)
    stored, wall = plan.storage, plan.goodput
    rows: list[tuple[str, Parts]] = [
        ("model", _model(plan)),
        ("tokens", _tokens(plan)),
        ("compute", [[_n(_q(plan.total_flop), "compute.total_flop")], [_n(_q(plan.flop_per_token), "compute.flop_per_token")]]),
        ("steps", [[Part(f"{plan.steps:,}", "value")], [_n(f"{each} tokens each", "tokens.tokens_per_step")]]),
        ("speed", _speed(plan)),
        ("time", _band_parts(plan.throughput.duration_s, "time.duration_s", glyphs)),
        ("wall", [*_band_parts(wall.wall_clock_s, "time.wall_clock_s", glyphs),
                  [_n(f"{wall.share.mid.value:.1%} of it trains", "time.goodput")]]),
        ("money", _money(plan, glyphs)),
        ("energy", _or_unknown(plan.kwh, "energy.kwh", plan, glyphs)),
        ("carbon", _or_unknown(plan.kg_co2e, "energy.kg_co2e", plan, glyphs)),
        ("disk", [[_n(_q(stored.disk_bytes), "storage.disk_bytes")],
                  [_n(f"{_q(stored.checkpoint_bytes)} a checkpoint", "storage.checkpoint_bytes")],
                  [_n(f"{_q(stored.dataset_bytes)} of data", "storage.dataset_bytes")]]),
    ]  # fmt: skip
    if stored.host_bytes is not None:
        rows.append(("host", _host(plan)))
    if plan.is_pretraining:
        low, high = (format_count(end.value) for end in (plan.optimal_band.low, plan.optimal_band.high))
        best = [
            [_n(_q(plan.optimal_tokens), "tokens.chinchilla_optimal")],
            [
                Part(low, "dim", "tokens.chinchilla_optimal.low"),
                Part(f" {glyphs.dash} ", "dim"),
                Part(high, "dim", "tokens.chinchilla_optimal.high"),
            ],
        ]
        rows.insert(2, ("optimum", best[:1] if low == high else best))
        rows.append(("loss", [[_n(_q(plan.loss), "loss.predicted")], [Part(f"law {plan.request.law.name}", "dim")]]))
    return rows


def _model(plan: Plan) -> Parts:
    """Parameters, how many of them a token uses and training moves where these are fewer, then the shape."""
    shape, adapter = plan.request.shape, plan.request.adapter
    parts: Parts = [[_n(f"{format_count(plan.parameters.value)} parameters", "model.parameters")]]
    if adapter is not None:
        parts.append([_n(f"{format_count(plan.trainable_parameters.value)} trained", "model.trainable_parameters")])
        parts.append([Part(f"rest frozen in {adapter.base}", "label")])
    if plan.active_parameters.value < plan.parameters.value:
        parts.append([_n(f"{format_count(plan.active_parameters.value)} active", "model.active_parameters")])
    return [*parts, [Part(f"{shape.num_layers} layers of {shape.hidden_size}", "label")], [Part(shape.architecture, "label")]]


def _tokens(plan: Plan) -> Parts:
    """How many, and for pretraining whether that is enough."""
    planned = [_n(format_count(plan.tokens.value), "tokens.planned")]
    if not plan.is_pretraining:
        return [planned, [Part("no law says how many are enough", "dim")]]
    verdict = plan.training_verdict.partition(":")[0]
    optimal = Part(verdict, "good" if verdict.startswith("near") else "bad", "tokens.chinchilla_optimal")
    return [planned, [_n(f"{plan.tokens_per_parameter.value:.3g} per parameter", "tokens.tokens_per_parameter")], [optimal]]


def _host(plan: Plan) -> Parts:
    """RAM of one machine: all of it, and what offloading takes of that."""
    stored, there = plan.storage, plan.request.host.memory_bytes
    assert stored.host_bytes is not None, "asked for only where it is known"
    verdict = {"oom": "bad", "fits": "good", "unknown": "label"}[stored.host_verdict]
    words = " of RAM" if there is None else f" of {format_value(there, 'bytes')} of RAM"
    parts: Parts = [[_n(_q(stored.host_bytes), "storage.host_bytes"), Part(words, verdict)]]
    if stored.pinned_bytes is not None:
        parts.append([_n(f"{_q(stored.pinned_bytes)} offloaded", "storage.pinned_bytes")])
    return parts


def _speed(plan: Plan) -> Parts:
    speed = plan.throughput
    parts: Parts = [[_n(_q(speed.tokens_per_s), "time.tokens_per_s")], [_n(f"{_q(speed.step_s)} a step", "time.step_s")]]
    if speed.mfu is not None:
        parts.append([_n(f"MFU {speed.mfu.value:.0%}", "time.mfu"), Part(f" {plan.request.convention}", "dim")])
    if speed.communication_s.value:
        parts.append([_n(f"{_q(speed.waiting_s)} waiting", "time.waiting_s")])
        parts.append([_n(f"{_q(speed.communication_s)} of communication", "time.communication_s")])
    return parts


def _money(plan: Plan, glyphs: Glyphs) -> Parts:
    count = plan.gpu_hours.mid.value
    hours = [_n(f"{count:,.0f} device hours" if count >= 100 else f"{count:.3g} device hours", "cost.gpu_hours")]
    if plan.usd is None:
        return [hours, [Part("no price known", "dim")], [Part("the field price takes one", "dim")]]
    return [*_band_parts(plan.usd, "cost.usd", glyphs), hours]


def _or_unknown(band: Band | None, name: str, plan: Plan, glyphs: Glyphs) -> Parts:
    if band is None:
        return [[Part(f"the power of {clean_line(plan.request.hardware.name)} is not known", "dim")]]
    return _band_parts(band, name, glyphs)


def _band_parts(band: Band, name: str, glyphs: Glyphs) -> Parts:
    """The middle, then the range."""
    return [
        [_n(_q(band.mid), name)],
        [
            Part(_q(band.low), "dim", f"{name}.low"),
            Part(f" {glyphs.dash} ", "dim"),
            Part(_q(band.high), "dim", f"{name}.high"),
        ],
    ]


def _n(text: str, figure: str) -> Part:
    return Part(text, "value", figure)


def _q(quantity: Quantity) -> str:
    return format_value(quantity.value, quantity.unit)
