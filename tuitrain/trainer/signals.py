"""SIGTERM and SIGINT mean: save and stop. A second one within the same process changes nothing; SIGKILL always works.

SIGUSR1 means the same: Slurm's warning. SIGUSR2 writes stacks, see `rank_log`. When torchrun sends SIGTERM because another
process died, nothing can be saved: see `heartbeat`, which hears signals through `wake_fd` even where no Python code can run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1


class StopRequest:
    """Set by a signal, looked at between steps."""

    wake_fd: int | None = None
    """Readable once a signal has come."""

    def __init__(self) -> None:
        self.name = ""

    def install(self) -> None:
        """Catch the signals, and ask for SIGTERM when the parent (torchrun) dies: an orphan saves and stops too."""
        self.wake_fd, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        if hasattr(signal, "SIGUSR1"):  # Slurm's warning before the end of an allocation
            signal.signal(signal.SIGUSR1, self._handle)
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
