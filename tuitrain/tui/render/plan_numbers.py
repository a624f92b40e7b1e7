"""The numbers of a plan, one subject a line: model, tokens, compute, speed, time, money, energy, carbon, loss."""

from __future__ import annotations

from tuitrain.text import clean_line
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.marked import Marked, Part, row_of
from tuitrain.tui.render.panes import fill
from tuitrain_planners import Band, Plan, Quantity, format_count, format_value

LABEL_CELLS = 9
NUMBER_ROWS = 10
Parts = list[list[Part]]


def numbers_block(plan: Plan, width: int, height: int, glyphs: Glyphs) -> Marked:
    """All rows, and below them what the reader should know before believing them, as far as there is room."""
    block = Marked()
    for label, parts in number_rows(plan, glyphs):
        block.add(row_of(label, parts, width, LABEL_CELLS, glyphs.separator))
    for warning in plan.warnings:
        rows = fill(clean_line(warning), width - 2)
        if len(block.lines) + len(rows) > height:
            break
        block.lines += [(("! " if index == 0 else "  ", "alert"), (text, "bad")) for index, text in enumerate(rows)]
    return block


def number_rows(plan: Plan, glyphs: Glyphs) -> list[tuple[str, Parts]]:
    """(label, parts in the order of their weight) of every row."""
    shape = plan.request.shape
    verdict = plan.training_verdict.partition(":")[0]
    optimal = Part(verdict, "good" if verdict.startswith("near") else "bad", "tokens.chinchilla_optimal")
    each = format_count(plan.tokens_per_step.value)
    return [
        ("model", [[_n(f"{format_count(plan.parameters.value)} parameters", "model.parameters")],
                   [Part(f"{shape.num_layers} layers of {shape.hidden_size}", "label")], [Part(shape.architecture, "label")]]),
        ("tokens", [[_n(format_count(plan.tokens.value), "tokens.planned")],
                    [_n(f"{plan.tokens_per_parameter.value:.3g} per parameter", "tokens.tokens_per_parameter")], [optimal]]),
        ("compute", [[_n(_q(plan.total_flop), "compute.total_flop")], [_n(_q(plan.flop_per_token), "compute.flop_per_token")]]),
        ("steps", [[Part(f"{plan.steps:,}", "value")], [_n(f"{each} tokens each", "tokens.tokens_per_step")]]),
        ("speed", _speed(plan)),
        ("time", _band_parts(plan.throughput.duration_s, "time.duration_s", glyphs)),
        ("money", _money(plan, glyphs)),
        ("energy", _or_unknown(plan.kwh, "energy.kwh", plan, glyphs)),
        ("carbon", _or_unknown(plan.kg_co2e, "energy.kg_co2e", plan, glyphs)),
        ("loss", [[_n(_q(plan.loss), "loss.predicted")], [Part(f"law {plan.request.law.name}", "dim")]]),
    ]  # fmt: skip


def _speed(plan: Plan) -> Parts:
    speed = plan.throughput
    parts: Parts = [[_n(_q(speed.tokens_per_s), "time.tokens_per_s")], [_n(f"{_q(speed.step_s)} a step", "time.step_s")]]
    if speed.mfu is not None:
        parts.append([_n(f"MFU {speed.mfu.value:.0%}", "time.mfu"), Part(f" {plan.request.convention}", "dim")])
    if speed.communication_s.value:
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
