"""The ZeRO x precision table: what one device needs in each layout, this plan's own cell in brackets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tuitrain.tui.plan.explaining import table_cell
from tuitrain.tui.render.format import MISSING
from tuitrain.tui.render.marked import Marked, Part
from tuitrain_planners import DeviceMemory, Plan

WORDS: Final = {"fits": "fits", "tight": "tight", "oom": "no"}
_STYLES: Final = {"fits": "good", "tight": "alert", "oom": "dim"}
TABLE_ROWS: Final = 5
_MIN_CELLS: Final = 14
"""'[1,024.5 tight]'."""
_GIB: Final = 2**30


def table_block(plan: Plan, grid: Mapping[str, tuple[DeviceMemory, ...]] | None, width: int) -> Marked:
    """A heading and four rows. Without a grid, as while it is reckoned, only the plan's own precision is known."""
    columns: Mapping[str, tuple[DeviceMemory, ...]] = grid or {plan.request.precision: plan.memory_by_stage}
    cells = max(_MIN_CELLS, min(18, (width - 4) // max(3, len(columns))))
    shown = dict(list(columns.items())[: max(1, (width - 4) // cells)])
    block = Marked()
    block.add([Part("ZeRO", "label"), *(Part(f"{name:>{cells}}", "label") for name in shown)])
    for stage in range(4):
        row = [Part(f"{stage:>4}", "value" if stage == plan.request.zero else "label")]
        for name, stages in shown.items():
            own = (stage, name) == (plan.request.zero, plan.request.precision)
            memory = stages[stage]
            text = f"{_gib(memory.device_bytes.mid.value)} {WORDS[memory.verdict]:<5}"
            text = (f"[{text}]" if own else f" {text} ").rjust(cells)
            row.append(Part(text, "value.big" if own else _STYLES[memory.verdict], table_cell(name, stage)))
        block.add(row)
    return block


def _gib(size_bytes: float) -> str:
    """Gibibytes to a tenth, hundredths below one."""
    gib = size_bytes / _GIB
    if not gib > 0:
        return MISSING
    return f"{gib:.2f}" if gib < 1 else f"{gib:,.1f}" if gib < 10_000 else f"{gib:.3g}"
