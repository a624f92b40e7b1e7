"""Peak resident memory per process of four that train a model of 91 M parameters together, under ZeRO 0, 1, 2 and 3, beside the
plan.

What the planner counts is live tensors. So that resident memory is no more than that, malloc is told to ask the kernel for
every large tensor and to give it back (MALLOC_MMAP_THRESHOLD_); a run as people start it holds some of what is freed. What all
stages have in common - interpreter, torch, activations - cancels in the differences between them, which are what ZeRO saves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.common import median, save, scratch_home, table
from tuitrain.events import Event, read_events
from tuitrain.runs.home import runs_root
from tuitrain.runs.store import Run, RunStore

PROCESSES, STEPS = 4, 4
LIMIT = 0.10
"""Largest error of a planned difference."""
MODEL = (
    "model.hidden_size=768", "model.num_layers=12", "model.num_heads=12", "model.num_kv_heads=12", "model.architecture=llama",
    "tokenizer.vocab_size=8192", "train.seq_len=64", f"train.batch_tokens={64 * PROCESSES}", "train.micro_batch=1",
    "train.precision=fp32", "train.compile=off", "optim.kind=adamw", "train.steps=1000", "eval.every_steps=0",
    "eval.max_tokens=256", "eval.sample_tokens=0", "checkpoint.every_steps=0", f"run.nproc={PROCESSES}", "run.threads=1",
)  # fmt: skip
MIB = 2**20


def stage(zero: int) -> dict[str, Any]:
    """A run, ended when every process has told of its steps: the last evaluation would take longer than they do."""
    command = [sys.executable, "-m", "tuitrain", "train", *MODEL, f"parallel.zero={zero}", "--detach"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    run = RunStore(runs_root()).list()[0]
    steps = _steps(run)
    while min((len(steps[rank]) for rank in range(PROCESSES)), default=0) < STEPS:
        assert run.liveness().alive, f"the run ended early, see {run.log_file}"
        time.sleep(1.0)
        steps = _steps(run)
    subprocess.run([sys.executable, "-m", "tuitrain", "runs", "stop", run.run_id, "--kill"], check=True)
    plan = json.loads((run.path / "plan.json").read_text())["memory"]
    peaks = [max(int(event.number("peak_bytes")) for event in steps[rank]) for rank in range(PROCESSES)]
    return {
        "zero": zero, "planned_bytes": plan["peak_bytes"], "planned_phase": plan["phase"], "planned_terms": plan["terms"],
        "measured_bytes": max(peaks), "by_rank": peaks,
        "step_s": median([event.number("step_s") for event in steps[0][1:]]),
    }  # fmt: skip


def _steps(run: Run) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = {rank: [] for rank in range(PROCESSES)}
    for event in read_events(run.events_dir):
        if event.kind == "step":
            found[event.rank].append(event)
    return found


def main() -> None:
    """Measure, print, save."""
    scratch_home()
    os.environ |= {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    stages = [stage(zero) for zero in range(4)]
    rows = [["ZeRO", "planned MiB", "measured MiB", "saves, planned", "measured", "error", "s per step"]]
    for before, each in zip([None, *stages], stages, strict=False):
        saves = ["", "", ""]
        if before is not None:
            planned, measured = (before[name] - each[name] for name in ("planned_bytes", "measured_bytes"))
            each |= {"planned_saving_bytes": planned, "saving_bytes": measured, "saving_error": planned / measured - 1}
            saves = [f"{planned / MIB:,.0f}", f"{measured / MIB:,.0f}", f"{each['saving_error']:+.1%}"]
        size = [f"{each[name] / MIB:,.0f}" for name in ("planned_bytes", "measured_bytes")]
        rows.append([str(each["zero"]), *size, *saves, f"{each['step_s']:.2f}"])
    table(rows)
    whole = [stages[0][name] - stages[-1][name] for name in ("planned_bytes", "measured_bytes")]
    print(
        f"ZeRO-3 against 0: planned {whole[0] / MIB:,.0f} MiB, measured {whole[1] / MIB:,.0f} ({whole[0] / whole[1] - 1:+.1%})"
    )
    save("parallel_memory", {"processes": PROCESSES, "limit": LIMIT, "stages": stages})


if __name__ == "__main__":
    main()
