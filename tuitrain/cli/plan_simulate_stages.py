"""`tuitrain plan ... --zero all --simulate`: every ZeRO stage traced beside its plan, peak and bytes sent."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuitrain_planners import Plan


def simulate_stages(planned: Plan) -> dict[str, Any]:
    """{"stages": what `plan_simulate.simulate` says of ZeRO 0, 1, 2 and 3}. UsageError for what cannot be simulated."""
    from tuitrain.cli.plan_simulate import simulate, simulation_request
    from tuitrain_planners import plan

    plans = [plan(replace(planned.request, zero=stage)) for stage in range(4)]
    for each in plans:  # all of them, before minutes go into the first
        simulation_request(each.request)
    with ThreadPoolExecutor(max_workers=max(1, min(len(plans), (os.cpu_count() or 2) // 2))) as pool:
        return {"stages": list(pool.map(simulate, plans))}


def show_stages(found: dict[str, Any]) -> None:
    """One line per stage."""
    from tuitrain.cli.output import show, show_table
    from tuitrain_planners import format_bytes

    rows = []
    for each in found["stages"]:
        sent, planned = (sum(kind[name] for kind in each["communication"]) for name in ("sent_bytes", "planned_sent_bytes"))
        rows.append([
            str(each["zero"]), format_bytes(each["planned_peak_bytes"]), format_bytes(each["peak_bytes"]),
            f"{each['difference']:+.1%}", each["peak_phase"], format_bytes(planned), format_bytes(sent),
            f"{planned / sent - 1:+.1%}" if sent else "-",
        ])  # fmt: skip
    show()
    head = ["ZeRO", "peak, planned", "traced", "difference", "phase", "sent in a step, planned", "traced", "difference"]
    show_table(head, rows, right=(0, 1, 2, 3, 5, 6, 7))
    first = found["stages"][0]
    show(f"\ntraced: steps on {first['tensors']}, torch {first['torch']}; without context and workspaces")
