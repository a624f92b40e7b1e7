"""A plan as one page to send to someone: no script, nothing loaded from elsewhere, readable without colours."""

from __future__ import annotations

from html import escape
from typing import Final

from tuitrain_planners.memory.device import DeviceMemory
from tuitrain_planners.memory.phases import GROUPS
from tuitrain_planners.plan import Plan
from tuitrain_planners.quantity import Quantity
from tuitrain_planners.report import figures, terms_by_group
from tuitrain_planners.screen import rows
from tuitrain_planners.units import format_bytes, format_value

COLOURS: Final = dict(
    zip(GROUPS, ("#4c78a8", "#f58518", "#54a24b", "#72b7b2", "#b279a2", "#e45756", "#9d755d", "#bab0ac"), strict=True)
)
_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; vertical-align: top }
tr { border-top: 1px solid #8884 } th { white-space: nowrap; font-weight: 600 } .size { white-space: nowrap }
.bar { display: flex; height: 1.4rem; background: #8882; position: relative } .bar i { display: block }
.limit { position: absolute; top: -.2rem; bottom: -.2rem; border-left: 2px solid currentColor }
.key span { margin-right: 1rem; white-space: nowrap }
.key i { display: inline-block; width: .8rem; height: .8rem; margin-right: .3rem }
pre { overflow-x: auto; font: 12px/1.4 ui-monospace, monospace }
"""


def to_html(plan: Plan) -> str:
    """The rows, a bar of memory per ZeRO stage and phase, and every number's explanation."""
    title = f"{plan.request.shape.name} on {plan.request.hardware.title or plan.request.hardware.name}"
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows(plan))
    warnings = "".join(f"<li>{escape(each)}</li>" for each in plan.warnings)
    parts = [
        f"<h1>{escape(title)}</h1><table>{table}</table>",
        f"<h2>Memory of one device</h2>{_key()}{_bars(plan)}",
        f"<h2>Warnings</h2><ul>{warnings}</ul>" if warnings else "",
        "<h2>How each number comes about</h2>",
        *(_explained(name, quantity) for name, quantity in figures(plan).items()),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _key() -> str:
    cells = "".join(f'<span><i style="background:{colour}"></i>{name}</span>' for name, colour in COLOURS.items())
    return f'<p class="key">{cells}<span>the line: what the device has</span></p>'


def _bars(plan: Plan) -> str:
    """The peak under every ZeRO stage where there are several devices, then this plan's phases; all to one scale."""
    stages = plan.memory_by_stage if plan.request.mesh.devices > 1 else ()
    widest = max(plan.memory.capacity_bytes, *(each.step.peak.value for each in (plan.memory, *stages)))
    lines = [_stage_bar(f"ZeRO {stage}", each, widest) for stage, each in enumerate(stages)]
    for phase in plan.memory.step.phases:
        note = " (the peak)" if phase is plan.memory.step.peak_phase else ""
        lines.append(_bar(f"{phase.name}{note}", phase, plan.memory.capacity_bytes, widest))
    return f"<table>{''.join(lines)}</table>"


def _stage_bar(name: str, memory: DeviceMemory, widest: float) -> str:
    return _bar(f"{name}, {memory.verdict}", memory.step.peak_phase, memory.capacity_bytes, widest)


def _bar(name: str, phase: Quantity, capacity: float, widest: float) -> str:
    pieces = "".join(
        f'<i style="width:{100 * value / widest:.3f}%;background:{COLOURS[group]}" title="{group} {format_bytes(value)}"></i>'
        for group, value in terms_by_group(phase).items()
        if value
    )
    line = f'<span class="limit" style="left:{100 * capacity / widest:.3f}%"></span>'
    size = escape(format_bytes(phase.value))
    bar = f'<td style="width:70%"><div class="bar">{pieces}{line}</div></td>'
    return f'<tr><th>{escape(name)}</th><td class="size">{size}</td>{bar}</tr>'


def _explained(name: str, quantity: Quantity) -> str:
    shown = escape(f"{name} = {format_value(quantity.value, quantity.unit)}")
    return f"<details><summary>{shown}</summary><pre>{escape(quantity.explain())}</pre></details>"
