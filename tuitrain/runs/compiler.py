"""Whether torch.compile can work here, and whether a run is long enough for it. Needs no torch: the planner asks too."""

from __future__ import annotations

import shutil
import sys

COMPILERS = ("g++", "clang++", "c++")
WORTH_FROM_S = 90.0
"""Shortest eager training time for which "auto" tries: compiling was seen to take 10 to 60 s and to save a third."""


def unavailable(device_type: str) -> str | None:
    """Why torch.compile cannot work here, or None."""
    if device_type == "cpu" and compiler() is None:
        return "no C++ compiler on PATH"
    if sys.version_info >= (3, 14):
        return f"torch.compile does not know Python {sys.version_info.major}.{sys.version_info.minor}"
    return None


def compiler() -> str | None:
    """Path of a C++ compiler."""
    return next((path for name in COMPILERS if (path := shutil.which(name))), None)
