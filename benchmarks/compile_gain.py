"""What torch.compile gains by width: the step a probe measured eager and compiled, in one process after the other.

The planner's curve for machines that never compiled (`tuitrain_planners/compiling.py`) is this benchmark's result.
"""

from __future__ import annotations

import json

from benchmarks import ours
from benchmarks.common import save, scratch_home, table
from tuitrain.runs.home import machine_file

DEPTHS = (1, 2, 4, 6, 8)


def main() -> None:
    """A short run of every width, for its probe."""
    scratch_home()
    for depth in DEPTHS:
        ours.train(f"model.depth={depth}", "train.compile=on", "train.steps=4", "train.seq_len=256", "eval.max_tokens=4096")
    (gains,) = json.loads(machine_file().read_text())["compile_gains"].values()
    curve = [(int(width), gain) for width, (gain,) in sorted(gains.items(), key=lambda each: int(each[0]))]
    table([["width", "compiled / eager"], *([str(width), f"{gain:.2f}"] for width, gain in curve)])
    save("compile_gain", {"sequence": 256, "gain_by_width": curve})


if __name__ == "__main__":
    main()
