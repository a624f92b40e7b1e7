"""`python -m benchmarks [NAME ...]`: run benchmarks one after the other. Without a name, all of them (about an hour on 2
cores)."""

from __future__ import annotations

import importlib
import subprocess
import sys

NAMES = (
    "startup", "plan_startup", "plan_form", "layout_search", "dashboard_paint", "loss_head", "train_speed", "compile_gain",
    "memory", "parallel_memory", "mfu", "quality", "finetune_speed", "finetune_merge", "finetune_quality",
)  # fmt: skip


def main() -> int:
    """Run the named benchmarks, each in a process of its own; the exit code is the number that failed."""
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        importlib.import_module(f"benchmarks.{sys.argv[2]}").main()
        return 0
    wanted = sys.argv[1:] or list(NAMES)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        print(f"error: unknown benchmark {', '.join(unknown)}\n\nhint: known are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted:
        print(f"== {name}", flush=True)
        failed += bool(subprocess.run([sys.executable, "-m", "benchmarks", "--one", name], check=False).returncode)
    return failed


if __name__ == "__main__":
    sys.exit(main())
