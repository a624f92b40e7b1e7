"""torch.compile, layer by layer: one small graph serves every layer, so compiling takes seconds and not minutes.

"auto" compiles when the run is long enough to earn the cost back, measures, and keeps the faster of the two.
"""

from __future__ import annotations

from tuitrain.model.decoder import Decoder
from tuitrain.trainer.losses import LanguageModelLoss


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
