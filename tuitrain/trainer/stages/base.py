"""What every stage that starts from a transformers model needs of it: loaded as its method keeps it, an attention backend, and
what its checkpoints hold."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from tuitrain.config.resolved import Resolved
from tuitrain.data.chat.encoder import ChatEncoder
from tuitrain.errors import EnvironmentError_
from tuitrain.model.adapters import add_adapter, describe_base
from tuitrain.model.int8_table import Int8Embedding
from tuitrain.model.pretrained import ATTENTION, LoadOptions, Pretrained, load_base
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.precision import Recipe
from tuitrain.trainer.weights import AdapterWeights, PretrainedWeights, Weights, copy_tokenizer
from tuitrain_kernels import Choice
from tuitrain_kernels.attention.flash import flash_unavailable

NOT_COMPILED: Final = "models of transformers are run as they are"


def quant_of(resolved: Resolved) -> str | None:
    """How frozen matrices are kept: nf4 | int8 | None."""
    return resolved.config.method.quant if resolved.config.method.kind == "qlora" else None


def load_model(resolved: Resolved, base: Path, kind: Recipe, device: torch.device) -> Pretrained:
    """The base as its method keeps it, with the adapter beside it."""
    config = resolved.config
    method = config.method
    torch.manual_seed(config.run.seed)  # an adapter's first matrix is drawn
    options = LoadOptions(
        # Frozen weights need no master copy: what computes is what is kept.
        dtype=kind.weights if method.kind == "full" else kind.compute,
        quant=quant_of(resolved),
        double_quant=method.double_quant,
        quant_embedding=method.quant_embedding is True,
        compute=kind.compute,
        trust_remote_code=config.model.trust_remote_code,
    )
    lm = load_base(base, options, device)
    adapted = None if method.kind == "full" else add_adapter(lm, method, base)
    return Pretrained(lm, compute_dtype=kind.compute, adapted=adapted)


def attention_of(resolved: Resolved, world: World, kind: Recipe, model: Pretrained) -> Choice:
    """transformers' implementations: flash-attn where it is installed and can run, else torch's own, else the family's code."""
    wanted = resolved.config.train.attention
    why_not = flash_unavailable(world.device, kind.compute)
    if wanted == "auto":
        if why_not is None:
            return Choice(name="flash-attn", reason="fastest on this device; packing is cut by lengths")
        if not model.has_sdpa:
            why = "this family caps its scores, which torch's kernel does not"
            return Choice(name="naive", reason="the family's own code", rejected=(("flash-attn", why_not), ("sdpa", why)))
        return Choice(name="sdpa", reason="torch's fused kernel", rejected=(("flash-attn", why_not),))
    if wanted not in ATTENTION:
        raise EnvironmentError_(
            f"train.attention={wanted!r} is of our own decoder; models of transformers have {', '.join(ATTENTION)}",
            "train.attention=auto",
        )
    if wanted == "flash-attn" and why_not is not None:
        raise EnvironmentError_(f"train.attention='flash-attn': {why_not}", "train.attention=auto")
    return Choice(name=wanted, reason="as asked for")


def weights_of(resolved: Resolved, base: Path, model: Pretrained, encoder: ChatEncoder) -> Weights:
    """All weights, or the adapter alone; with the tokenizer and the template that are trained with."""
    template = encoder.template

    def save(folder: Path) -> None:
        source = template.source if template else None
        copy_tokenizer(base, folder, chat_template=source, end_ids=encoder.end_ids)

    if model.adapted is None:
        return PretrainedWeights(model=model, save_tokenizer=save)
    method = resolved.config.method
    kept = "int8" if isinstance(model.lm.get_input_embeddings(), Int8Embedding) else None
    described = describe_base(base, quant=quant_of(resolved), double_quant=method.double_quant, embedding=kept)
    return AdapterWeights(model=model, base=described, save_tokenizer=save)
