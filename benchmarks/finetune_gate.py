"""Two trainers in two processes that take turns, one step at a time: a machine that slows down slows both.

A worker holds before each step until its parent writes a line, takes the step, and answers with a line of JSON. The steps are
those of the trainer's own loop - data, forward, backward, optimizer, bookkeeping - from one end of a step to the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import median


class Gate:
    """The worker's side. What libraries print goes to stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._begin: float | None = None
        self._cpu = 0.0

    def turn(self, **facts: Any) -> None:
        """Between two steps: tell about the last one (the first time: that there was none), wait for the next."""
        if self._begin is not None:
            _finish()
            facts |= {"step_s": time.perf_counter() - self._begin, "cpu_s": time.process_time() - self._cpu}
        print(json.dumps(facts | memory()), file=self._out, flush=True)
        order = sys.stdin.readline().strip()
        if not order:  # the parent has seen enough: nothing is worth saving
            os._exit(0)
        if order == "reset":
            reset_peak()
        self._begin, self._cpu = time.perf_counter(), time.process_time()


class Side:
    """The parent's side of one worker."""

    def __init__(self, module: str, asked: dict[str, Any], log: Path) -> None:
        with log.open("wb") as stderr:
            command = [sys.executable, "-m", module, json.dumps(asked)]
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=os.environ | QUIET
            )
        self._log, self.steps = log, list[dict[str, Any]]()
        self.ready = self._answer()

    def step(self, *, keep: bool) -> None:
        """One step; the first ones only warm up."""
        assert self._child.stdin is not None
        self._child.stdin.write("go\n" if self.steps else "reset\n")
        self._child.stdin.flush()
        answer = self._answer()
        if keep:
            self.steps.append(answer)

    def close(self) -> None:
        """End the worker."""
        with contextlib.suppress(OSError):
            self._child.communicate("", timeout=60)

    def facts(self) -> dict[str, Any]:
        """By the clock the median over the steps, by CPU time all of them; the peak of memory over the steps that count, and
        what the worker told at its start."""
        return {
            "tokens_per_s": median([each["tokens"] / each["step_s"] for each in self.steps]),
            "tokens_per_cpu_s": sum(each["tokens"] for each in self.steps) / sum(each["cpu_s"] for each in self.steps),
            **{name: [each[name] for each in self.steps] for name in ("step_s", "cpu_s", "tokens", "targets", "loss")},
            "peak_bytes": max(each["peak_bytes"] for each in self.steps), "at_start": self.ready,
        }  # fmt: skip

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"error: a worker ended early:\n{self._log.read_text()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


QUIET = {
    "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip


def take_turns(sides: dict[str, Side], *, steps: int, warm: int = 2) -> dict[str, dict[str, Any]]:
    """`steps` steps of each, in turn, after `warm` of each that do not count."""
    for number in range(warm + steps):
        for side in sides.values():
            side.step(keep=number >= warm)
    for side in sides.values():
        side.close()
    return {name: side.facts() for name, side in sides.items()}


def memory() -> dict[str, int]:
    """Peak since the last reset: allocated bytes on CUDA, the kernel's high-water mark of resident bytes elsewhere."""
    import torch

    if torch.cuda.is_available():
        return {"peak_bytes": int(torch.cuda.max_memory_allocated())}
    status = Path("/proc/self/status").read_text()
    return {"peak_bytes": next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))}


def reset_peak() -> None:
    """Start a new peak."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _finish() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
