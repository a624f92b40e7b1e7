"""What of a model is gathered together when its weights are cut: each layer; embedding and head, where they are two matrices;
the rest in the root. The model does not know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from tuitrain.model.decoder import Decoder
from tuitrain.trainer.losses import LanguageModelLoss


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """Modules that are gathered one after the other, inner ones first."""

    layers: list[nn.Module]
    ends: list[nn.Module]
    """Embedding and loss head; empty where both ends of the step read one table, which is then in the root."""
    head: nn.Module | None
    """Of the ends the one whose weight is reached a second time, through the model."""


def units_of(loss: nn.Module) -> Units:
    """The units of a loss module over our own decoder or a model of transformers."""
    model: Any = loss.decoder
    if isinstance(model, Decoder):
        layers, embedding, tied = list(model.model.layers), model.model.embed_tokens, model.shape.tie_embeddings
    else:
        embedding, head = model.lm.get_input_embeddings(), model.lm.get_output_embeddings()
        # By parameters and not by weights: a table in 8 bits makes its weight anew whenever it is asked for.
        layers, tied = _layers(model.lm), bool(set(embedding.parameters()) & set(head.parameters()))
    # Other losses read the head's weight without calling it: there is no moment to gather it at but the root's.
    if tied or not isinstance(loss, LanguageModelLoss):
        return Units(layers=layers, ends=[], head=None)
    return Units(layers=layers, ends=[embedding, loss.loss_head], head=loss.loss_head)


def _layers(lm: Any) -> list[nn.Module]:
    """The layers of a transformers model, whatever its family calls them."""
    count = lm.config.get_text_config().num_hidden_layers
    for module in lm.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise AssertionError(f"{type(lm).__name__} has no list of {count} layers")
