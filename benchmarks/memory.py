"""Resident memory of runs on this machine beside their plan: eager and compiled, from 0.6 M to 33 M parameters.

`live_bytes` is what the planner counts tensor by tensor. What the process holds on top of it - interpreter, torch, compiler,
and what malloc keeps of freed tensors - is `tuitrain_planners/memory/runtime.py`, and comes from this benchmark.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks import ours
from benchmarks.common import save, scratch_home, table

DEPTHS = {2: 30, 4: 12, 6: 6, 8: 4}
"""Depth, and how many steps it is given: memory is at its height after the first."""


def main() -> None:
    """Short runs; their peak over everything, evaluation and saving included."""
    scratch_home()
    kept: list[dict[str, Any]] = []
    rows = [["depth", "compiled", "live", "planned", "measured", "difference"]]
    for compiled in (False, True):
        for depth, steps in DEPTHS.items():
            trained = ours.train(
                f"model.depth={depth}", f"train.steps={steps}", f"train.compile={'on' if compiled else 'off'}",
                "train.seq_len=256", "eval.max_tokens=4096",
            )  # fmt: skip
            planned = json.loads((trained.run.path / "plan.json").read_text())
            terms = planned["memory"]["terms"]
            live = int(sum(terms.values()) - terms["runtime"])
            measured = int(max(trained.state.steps.column("peak_bytes")))
            expected = planned["run"]["peak_bytes"]
            kept.append({"depth": depth, "compiled": compiled, "live_bytes": live, "planned_bytes": expected,
                         "measured_bytes": measured})  # fmt: skip
            mib = (f"{each / 2**20:,.0f} MiB" for each in (live, expected, measured))
            rows.append([str(depth), "yes" if compiled else "no", *mib, f"{expected / measured - 1:+.0%}"])
    table(rows)
    save("memory", {"runs": kept})


if __name__ == "__main__":
    main()
