"""Layouts per second of CPU that `plan --fit` looks at, beside asking the plan's own functions about every one of them.

Llama-3-70B on 64 H100 with two precisions and three loss heads: about 84 000 layouts. The slow side is a random sample, each
layout through `memory_of` and the step time; every sampled one must agree to the byte and lie above its bound. CPU time of this
process is counted, so that busy neighbours do not.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from benchmarks.common import median, save, table
from tuitrain_planners import Bounds, Mesh, PlanRequest, candidates, find_hardware, find_shape, search
from tuitrain_planners.grid import memory_of
from tuitrain_planners.search_memory import MemoryTable
from tuitrain_planners.search_time import TimeTable, layout_step_s

PRESETS = Path(__file__).parents[1] / "presets"
CASES = (("llama-3-8b", 8, 64), ("llama-3-70b", 64, 512), ("mixtral-8x7b", 64, 512))
"""(model, devices, sequences per step)."""
BOUNDS = Bounds(precisions=("bf16-mixed", "bf16-pure"), loss_heads=("plain", "chunked", "fused"))
RUNS = 3
SAMPLED = 1000
LIMIT_S = 5.0
"""For 100 000 layouts."""


def request_of(model: str, devices: int) -> PlanRequest:
    """Sequences of 8192 on H100s."""
    return PlanRequest(
        shape=find_shape(PRESETS / "models", model),
        hardware=find_hardware(PRESETS / "hardware", "h100-80gb"),
        seq_len=8192,
        mesh=Mesh(dp=devices),
    )


def slow_s(request: PlanRequest, batch: int) -> float:
    """CPU seconds per layout of the slow path, over a sample that the fast one must agree with."""
    memory, times = MemoryTable(request), TimeTable(request)
    layouts = list(candidates(request, batch, BOUNDS))
    spent = 0.0
    for layout in random.Random(0).sample(layouts, min(SAMPLED, len(layouts))):
        start = time.process_time()
        asked = layout.of(request)
        peak, seconds = memory_of(asked).step.peak.value, layout_step_s(asked)
        spent += time.process_time() - start
        assert memory.peak(layout).value == peak, layout
        assert times.at_least_s(layout) <= seconds, layout
    return spent / min(SAMPLED, len(layouts))


def main() -> None:
    """Measure and save."""
    results = []
    for model, devices, batch in CASES:
        request, spent, counted = request_of(model, devices), [], 0
        for _ in range(RUNS):
            start = time.process_time()
            counted = search(request, batch, bounds=BOUNDS).counted
            spent.append(time.process_time() - start)
        slow = slow_s(request, batch)
        each = median(spent) / counted
        results.append({
            "model": model, "devices": devices, "global_batch": batch, "layouts": counted, "cpu_s": spent,
            "layouts_per_cpu_s": 1 / each, "cpu_s_of_100000": 1e5 * each, "slow_cpu_s_of_100000": 1e5 * slow,
            "times_faster": slow / each,
        })  # fmt: skip
    columns = ("model", "devices", "layouts", "layouts_per_cpu_s", "cpu_s_of_100000", "times_faster")
    rows = [[f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for key in columns] for row in results]
    table([list(columns), *rows])
    save("layout_search", {"runs": RUNS, "limit_s_of_100000": LIMIT_S, "results": results})


if __name__ == "__main__":
    main()
