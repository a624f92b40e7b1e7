"""The one dial: a depth, and every other size of the model follows.

The rule (width 64 per layer) is nanochat's; within a factor of two the aspect ratio hardly matters (Kaplan et al. 2020,
figure 5, https://arxiv.org/abs/2001.08361).
"""

from __future__ import annotations

from typing import Any, Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.families import BY_DEPTH, FAMILIES
from tuitrain_planners.parameters import count_parameters
from tuitrain_planners.shapes import ModelShape, swiglu_size

WIDTH_PER_LAYER: Final = 64
TIE_BELOW_PARAMETERS: Final = 1_000_000_000
"""Embedding and head are tied below this many parameters, as small published models do; nanochat never ties."""


def by_depth(
    depth: int,
    vocab_size: int,
    architecture: str = "nanochat",
    *,
    tie_embeddings: bool | None = None,
    max_seq_len: int = 2048,
    head_dim: int = 64,
) -> ModelShape:
    """Width 64 * depth, as many heads of `head_dim` as fill it (at least one), feed-forward 4 h, or 8/3 h where gated.

    `tie_embeddings=None` decides by TIE_BELOW_PARAMETERS.
    """
    if depth < 1:
        raise PlanError(f"depth is {depth}", "a model has at least one layer")
    if architecture not in FAMILIES:
        raise unknown_name("architecture", architecture, FAMILIES)
    if architecture not in BY_DEPTH:
        raise PlanError(
            f"a depth says nothing about the experts of {architecture}", f"name a preset, or one of {', '.join(BY_DEPTH)}"
        )
    parts, hidden = FAMILIES[architecture], WIDTH_PER_LAYER * depth
    heads = max(1, hidden // head_dim)
    sizes: dict[str, Any] = {
        "name": f"{architecture}-d{depth}", "architecture": architecture, "vocab_size": vocab_size, "hidden_size": hidden,
        "num_layers": depth, "num_heads": heads, "num_kv_heads": heads, "head_dim": head_dim, "max_seq_len": max_seq_len,
        "ffn_size": swiglu_size(hidden) if parts["gated_ffn"] else 4 * hidden,
    }  # fmt: skip
    tied = ModelShape(**{**parts, **sizes, "tie_embeddings": True})
    if tie_embeddings is None:
        tie_embeddings = architecture != "nanochat" and count_parameters(tied).value < TIE_BELOW_PARAMETERS
    return tied if tie_embeddings else ModelShape(**{**parts, **sizes, "tie_embeddings": False})


HIDDEN_PER_LAYER: Final = 128
LLAMA_HEAD_DIM: Final = 128
USUAL_VOCAB: Final = 32_000


def by_parameters(count: float) -> ModelShape:
    """The Llama-like shape nearest to a number of parameters: width 128 per layer, heads of 128, SwiGLU 8/3 h, 32 000 entries.

    7e9 gives the sizes of Llama-2-7B (Touvron et al. 2023).
    """
    if not count >= count_parameters(_wide(1)).value / 2:
        smallest = count_parameters(_wide(1)).value
        raise PlanError(
            f"{count:,.0f} parameters", f"the smallest shape of this rule has {smallest:,}; small ones: a depth, d4"
        )
    layers = 1
    while count_parameters(_wide(layers + 1)).value <= count:
        layers += 1
    return min((_wide(layers), _wide(layers + 1)), key=lambda shape: abs(count_parameters(shape).value - count))


def _wide(layers: int) -> ModelShape:
    hidden = HIDDEN_PER_LAYER * layers
    return ModelShape(
        **FAMILIES["llama"],
        name=f"llama-like-{layers}x{hidden}",
        architecture="llama",
        vocab_size=USUAL_VOCAB,
        hidden_size=hidden,
        num_layers=layers,
        num_heads=layers,
        num_kv_heads=layers,
        head_dim=LLAMA_HEAD_DIM,
        ffn_size=swiglu_size(hidden, multiple=256),
        max_seq_len=4096,
        tie_embeddings=False,
    )
