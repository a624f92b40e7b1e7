"""torch.compile, layer by layer: one small graph serves every layer, so compiling takes seconds and not minutes.

"auto" compiles when the run is long enough to earn the cost back, measures, and keeps the faster of the two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from tuitrain.model.decoder import Decoder
from tuitrain.trainer.losses import LanguageModelLoss

_listeners: list[Callable[[], None]] = []
_listening = False


def tell_of_compiling(tick: Callable[[], None]) -> None:
    """Call `tick` whenever a graph begins or ends to be compiled: many of them take longer than a hung process is given."""
    _listeners.append(tick)


def _listen() -> None:
    from torch._dynamo.callback import callback_handler  # a second of importing, for those who compile

    def tell(_: object) -> None:
        for tick in _listeners:
            tick()

    global _listening
    if _listeners and not _listening:
        callback_handler.register_start_callback(tell)
        callback_handler.register_end_callback(tell)
        _listening = True


def compile_layers(loss: LanguageModelLoss) -> None:
    """Compile every layer and the loss head's chunk, in place."""
    _listen()
    for layer in loss.decoder.model.layers:
        # Not the call: its hooks gather cut weights, and must stay outside the graph.
        layer.forward = torch.compile(layer.forward, dynamic=False)
    loss.compiled = True


def undo(loss: LanguageModelLoss) -> None:
    """Back to eager."""
    decoder: Decoder = loss.decoder
    for layer in decoder.model.layers:
        layer.__dict__.pop("forward", None)  # the class's own again
    loss.compiled = False
