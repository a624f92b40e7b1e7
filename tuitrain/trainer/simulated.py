"""Models a simulated step can run: the trainer's own decoder, or transformers' class of the same shape under FSDP2.

Both come as the same parts, so the step and whoever watches it do not care which.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from tuitrain.config.schema import ParallelSection
from tuitrain.data.extras import load_extra
from tuitrain.model.decoder import Decoder
from tuitrain.model.shape import DecoderShape
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.parallel.apply import Parallel, parallelise
from tuitrain.trainer.parallel.mesh import data_mesh
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.precision import Recipe

LOGIT_SOFTCAP: Final = 15.0
"""nanochat's; the value costs nothing, having one does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """A model that returns its loss, and where in it the phases of a step begin."""

    module: nn.Module
    """Tokens and targets to a loss."""
    model: Decoder
    """What the optimizer moves (transformers' models name their parameters as ours does)."""
    embedding: nn.Module
    layers: list[nn.Module]
    head: nn.Module
    """Called with the hidden states."""


def native(shape: DecoderShape, recipe: Recipe, *, recompute: str, loss: str) -> Parts:
    """The trainer's decoder and loss head."""
    if shape.architecture == "nanochat":
        shape = replace(shape, logit_softcap=LOGIT_SOFTCAP)
    decoder = _in(recipe.weights, lambda: Decoder(shape, compute_dtype=recipe.compute))
    decoder.recompute = recompute
    module = LanguageModelLoss(decoder, head=loss)
    trunk = decoder.model
    return Parts(
        module=module, model=decoder, embedding=trunk.embed_tokens, layers=list(trunk.layers), head=module.loss_head
    )  # fmt: skip


def from_transformers(shape: DecoderShape, recipe: Recipe, *, recompute: str) -> Parts:
    """transformers' Llama or Qwen3 with its own loss on 32-bit logits, SDPA, norms written out in Python."""
    library = load_extra("transformers", "simulating its models")
    config = library.AutoConfig.for_model(
        shape.architecture, vocab_size=shape.vocab_size, hidden_size=shape.hidden_size, num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads, num_key_value_heads=shape.num_kv_heads, head_dim=shape.head_dim,
        intermediate_size=shape.ffn_size, max_position_embeddings=shape.max_seq_len,
        tie_word_embeddings=shape.tie_embeddings, use_cache=False, attn_implementation="sdpa",
    )  # fmt: skip
    model = _in(recipe.weights, lambda: library.AutoModelForCausalLM.from_config(config)).train()
    if recompute == "full":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    # Whole causal sequences get no mask in a real step. On fake tensors transformers cannot look and makes one, s x s.
    sys.modules[type(model).__module__].create_causal_mask = lambda *_, **__: None  # type: ignore[attr-defined]
    model.shape = shape
    return Parts(
        module=_ItsLoss(model), model=cast(Decoder, model), embedding=model.model.embed_tokens,
        layers=list(model.model.layers), head=model.lm_head,
    )  # fmt: skip


def spread(parts: Parts, section: ParallelSection, world: World, recipe: Recipe) -> Parallel:
    """As the trainer spreads its own model; of transformers' the layers are ZeRO-3 units, all else is in the root group."""
    if isinstance(parts.module, LanguageModelLoss):
        return parallelise(parts.module, parts.model, section, world, recipe)
    mesh = data_mesh(world, section.shard_group)
    policy = MixedPrecisionPolicy(param_dtype=recipe.compute, reduce_dtype=torch.float32)
    for layer in parts.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=section.reshard)
    fully_shard(parts.module, mesh=mesh, mp_policy=policy)
    return Parallel(module=parts.module, loss=parts.module)


class _ItsLoss(nn.Module):
    """A transformers model as the step calls it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor, *_: Any) -> Tensor:
        loss: Tensor = self.model(input_ids=tokens_BT, labels=targets_BT).loss
        return loss


def _in(dtype: torch.dtype, make: Callable[[], Any]) -> Any:
    """Made with weights of this dtype: fake parameters cannot be cast afterwards."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return make()
    finally:
        torch.set_default_dtype(before)
