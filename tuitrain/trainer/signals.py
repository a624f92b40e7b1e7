"""SIGTERM and SIGINT mean: save and stop. A second one within the same process changes nothing; SIGKILL always works."""

from __future__ import annotations

import ctypes
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1


class StopRequest:
    """Set by a signal, looked at between steps."""

    def __init__(self) -> None:
        self.name = ""

    def install(self) -> None:
        """Catch the signals, and ask for SIGTERM when the parent (torchrun) dies: an orphan saves and stops too."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        if hasattr(signal, "SIGUSR1"):  # Slurm's warning before the end of an allocation
            signal.signal(signal.SIGUSR1, self._handle)
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
