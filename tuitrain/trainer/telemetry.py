"""What the trainer tells: events through one writer, its progress through the heartbeat, and what memory it uses.

Nothing here may stop the training: a full disk delays events, a failed heartbeat is tried again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from tuitrain.events import EventWriter
from tuitrain.trainer.heartbeat import Heartbeat
from tuitrain.trainer.parallel.world import World


class Telemetry:
    """Events and heartbeat of one process."""

    def __init__(self, run_dir: Path, world: World, *, attempt: int, heartbeat: Heartbeat | None = None) -> None:
        self.run_dir, self.world, self.attempt = run_dir, world, attempt
        self.started_s = time.monotonic()
        self.step = 0
        self._writer = EventWriter(run_dir / "events" / f"rank{world.rank:05d}.jsonl", rank=world.rank)
        self.heartbeat = heartbeat or Heartbeat(run_dir, rank=world.rank, size=world.size, attempt=attempt)
        self.heartbeat.keep_status()

    def emit(self, kind: str, **data: Any) -> None:
        """An event of this process at the current step."""
        self._writer.emit(kind, step=self.step, **data)
        self.tick()

    def emit_main(self, kind: str, **data: Any) -> None:
        """An event of the run: only the main process writes it. The others were here too: that is progress."""
        if self.world.is_main:
            self.emit(kind, **data)
        else:
            self.tick()

    def phase(self, name: str, detail: str = "", done_frac: float | None = None) -> None:
        """The run entered another phase, or got further in it."""
        self.heartbeat.phase = name
        self.emit_main("phase", name=name, detail=detail, done_frac=done_frac)

    def warn(self, message: str, hint: str = "") -> None:
        """Something a user should know, also in train.log."""
        self.emit_main("warning", message=message, hint=hint)
        if self.world.is_main:
            print(f"warning: {message}" + (f" - {hint}" if hint else ""), flush=True)

    def tick(self) -> None:
        """The training thread moved. Whatever takes longer than `run.hang_timeout_s` must say so now and then."""
        self.heartbeat.step = self.step
        self.heartbeat.progress_s = time.time()

    def set_state(self, state: str) -> None:
        """running | paused | finished | stopped | failed."""
        self.heartbeat.set_state(state)

    def wall_s(self) -> float:
        """Seconds since this attempt began."""
        return time.monotonic() - self.started_s

    def close(self) -> None:
        """Write what waits, stop the heartbeat."""
        self.heartbeat.stop()
        self._writer.close()


class MemoryMeter:
    """Memory in use and its peak: allocated bytes on CUDA, resident set on CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        self.peak_bytes = 0

    def read(self) -> int:
        """Bytes now: on CUDA the peak since the last reading, which is what a step needed."""
        if self._device.type == "cuda":
            used = int(torch.cuda.max_memory_allocated(self._device))
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            used = int(self._process.memory_info().rss)
        self.peak_bytes = max(self.peak_bytes, used, self._kernel_peak())
        return used

    def reset(self) -> None:
        """Start a new peak."""
        self.peak_bytes = 0
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            _reset_kernel_peak()

    def _kernel_peak(self) -> int:
        """The kernel's own high-water mark of this process, where it can be read: RSS between two readings is seen too."""
        if self._device.type == "cuda":
            return 0
        try:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass  # not Linux
        return 0


def _reset_kernel_peak() -> None:
    try:
        fd = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return  # not Linux, or not ours to reset: the peak then includes start-up
    try:
        os.write(fd, b"5")
    finally:
        os.close(fd)
