"""torch.compile, layer by layer: one small graph serves every layer, so compiling takes seconds and not minutes.

"auto" compiles when the run is long enough to earn the cost back, measures, and keeps the faster of the two.
"""

from __future__ import annotations

import shutil
import sys

from tuitrain.model.decoder import Decoder
from tuitrain.trainer.losses import LanguageModelLoss

WORTH_FROM_S = 90.0
"""Shortest eager training time for which "auto" tries: compiling was seen to take 10 to 60 s and to save a third."""


def unavailable(device_type: str) -> str | None:
    """Why torch.compile cannot work here, or None."""
    if device_type == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "no C++ compiler on PATH"
    if sys.version_info >= (3, 14):
        return f"torch.compile does not know Python {sys.version_info.major}.{sys.version_info.minor}"
    return None


def compile_layers(loss: LanguageModelLoss) -> None:
    """Compile every layer and the loss head's chunk, in place."""
    for layer in loss.decoder.model.layers:
        layer.compile(dynamic=False)
    loss.compiled = True


def undo(loss: LanguageModelLoss) -> None:
    """Back to eager."""
    decoder: Decoder = loss.decoder
    for layer in decoder.model.layers:
        layer._compiled_call_impl = None
    loss.compiled = False
