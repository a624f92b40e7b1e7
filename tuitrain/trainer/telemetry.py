"""What the trainer tells: events through one writer, a heartbeat from a thread, and what memory it uses.

Nothing here may stop the training: a full disk delays events, a failed heartbeat is tried again.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from tuitrain.events import EventWriter
from tuitrain.runs.status import HEARTBEAT_S, ProcessId, Status, read_status, write_status
from tuitrain.trainer.parallel.world import World


class Telemetry:
    """Events and status of one process. The main process also keeps status.json."""

    def __init__(self, run_dir: Path, world: World, *, attempt: int) -> None:
        self.run_dir, self.world, self.attempt = run_dir, world, attempt
        self.started_s = time.monotonic()
        self.step = 0
        self._writer = EventWriter(run_dir / "events" / f"rank{world.rank:05d}.jsonl", rank=world.rank)
        self._heartbeat = Heartbeat(run_dir, attempt) if world.is_main else None

    def emit(self, kind: str, **data: Any) -> None:
        """An event of this process at the current step."""
        self._writer.emit(kind, step=self.step, **data)
        self.tick()

    def emit_main(self, kind: str, **data: Any) -> None:
        """An event of the run: only the main process writes it."""
        if self.world.is_main:
            self.emit(kind, **data)

    def phase(self, name: str, detail: str = "", done_frac: float | None = None) -> None:
        """The run entered another phase, or got further in it."""
        self.emit_main("phase", name=name, detail=detail, done_frac=done_frac)

    def warn(self, message: str, hint: str = "") -> None:
        """Something a user should know, also in train.log."""
        self.emit_main("warning", message=message, hint=hint)
        if self.world.is_main:
            print(f"warning: {message}" + (f" - {hint}" if hint else ""), flush=True)

    def tick(self) -> None:
        """The training thread moved."""
        if self._heartbeat is not None:
            self._heartbeat.progress_s = time.time()

    def set_state(self, state: str) -> None:
        """running | paused | finished | stopped | failed."""
        if self._heartbeat is not None:
            self._heartbeat.set_state(state)

    def wall_s(self) -> float:
        """Seconds since this attempt began."""
        return time.monotonic() - self.started_s

    def close(self) -> None:
        """Write what waits, stop the heartbeat."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._writer.close()


class Heartbeat(threading.Thread):
    """Writes status.json every few seconds, whatever the training thread does."""

    def __init__(self, run_dir: Path, attempt: int) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._run_dir = run_dir
        before = read_status(run_dir)
        supervisor = before.supervisor if before and before.supervisor and before.supervisor.process() else None
        self._status = Status(
            state="running", host=socket.gethostname(), attempt=attempt, supervisor=supervisor, trainer=ProcessId.current()
        )
        self.progress_s = time.time()
        self._stop_asked = threading.Event()
        self._lock = threading.Lock()
        self._write()
        self.start()

    def run(self) -> None:
        """The thread."""
        while not self._stop_asked.wait(HEARTBEAT_S):
            self._write()

    def set_state(self, state: str) -> None:
        """Show a new state at once."""
        with self._lock:
            self._status = self._status.with_(state=state)
        self._write()

    def stop(self) -> None:
        """End the thread after a last beat."""
        self._stop_asked.set()
        self.join()
        self._write()

    def _write(self) -> None:
        with self._lock:
            self._status = self._status.with_(heartbeat_s=time.time(), progress_s=self.progress_s)
            try:
                write_status(self._run_dir, self._status)
            except OSError as error:  # a full disk: the next beat tries again, and events say what is wrong
                print(f"warning: status.json could not be written: {error}", flush=True)


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
