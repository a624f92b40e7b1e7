"""How the code that runs a layer writes it: what is fused, copied, repeated or widened, by architecture and framework.

Bytes follow from the code, not only from the model: two implementations of one layer keep different tensors. Facts are from
saved-tensors counts of transformers 5.23's classes, litgpt 0.5.13 and torchtune 0.6.1 on torch 2.13; frameworks without an
entry (Megatron, torchtitan, hand-written ones) have plain layers and what `framework` says of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners.framework import Framework
from tuitrain_planners.shapes import ModelShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One layer's code."""

    wide_gains: bool = False
    """Norms multiply by their gains in 32 bits, and keep what they multiply so."""
    fused_qkv: bool = False
    """One product for q, k and v, whose result stays: v is a view of it (and q and k, where nothing rotates them)."""
    fused_gate: bool = False
    """One product for gate and up."""
    rotates: bool = True
    """Queries and keys are rotated, into tensors of their own."""
    repeats_kv: bool = False
    """Grouped keys and values are repeated to the width of the queries."""
    copies_output: bool = False
    """What attention gives is copied before the next product reads it: rotation by concatenation put heads before tokens."""
    broadcasts_kv: bool = False
    """One key/value head is broadcast: no fused kernel takes that, so attention is written out, in 32 bits."""
    keeps_mask: bool = False
    """A mask is made, converted and kept in each layer: s entries per token."""
    wide_scores: bool = True
    """Written-out attention takes its softmax in 32 bits, as autocast does anyway, and keeps it beside its 16-bit copy."""
    wide_queries: bool = False
    """Written-out attention multiplies queries and keys in 32 bits, unless autocast narrows them."""
    caps_scores: bool = False
    """Written-out scores pass through cap * tanh(scores / cap), whose tanh is kept."""
    inner: int = 3
    """f-wide tensors that the activation function and the product with the gate keep for their own backward."""
    product: bool = True
    """Whether what the down matrix reads is one tensor more."""
    shares_adapters: bool = False
    """A fused product has one adapter; otherwise q, k and v have inner vectors of their own."""
    pads_qkv: bool = False
    """An adapter on some of q, k, v keeps its results before they are put in place (litgpt)."""


_GELU: Final[dict[str, bool | int]] = {"inner": 1}
_NEW_GELU: Final[dict[str, bool | int]] = {"inner": 4}
"""Written out as 0.5 x (1 + tanh(...)): x, its half, the tanh and one plus it."""
_ROTATED: Final[dict[str, bool | int]] = {"copies_output": True}
_FUSED: Final[dict[str, bool | int]] = {"fused_qkv": True, **_GELU}

TRANSFORMERS: Final[dict[str, dict[str, bool | int]]] = {
    "gemma": {"wide_gains": True},
    "gemma2": {"wide_gains": True, "caps_scores": True},
    "gemma3": {"wide_gains": True},
    "olmo2": {"wide_gains": True},
    "phi3": {"fused_qkv": True, "fused_gate": True, **_ROTATED},
    "phi": {**_NEW_GELU, **_ROTATED},
    "gpt-neox": {**_FUSED, **_ROTATED},
    "gptj": {**_NEW_GELU, "wide_queries": True},
    "gpt2": {"fused_qkv": True, "rotates": False, "wide_scores": False, **_NEW_GELU},
    "bloom": {**_FUSED, "rotates": False},
    "mpt": {**_FUSED, "rotates": False},
    "opt": {"inner": 1, "product": False, "rotates": False},
    "falcon": {**_FUSED, "repeats_kv": True, "keeps_mask": True},
    "deepseek-v3": _ROTATED,
}
"""By architecture; those missing are written like Llama. opt: ReLU's result is both kept and read by the down matrix."""


def block_of(shape: ModelShape, framework: Framework) -> Block:
    """The layer of this shape as the framework's code writes it."""
    block = Block(
        inner=3 if shape.gated_ffn else 1,
        rotates=not shape.learned_positions,
        wide_gains=framework.wide_gains,
        fused_qkv=framework.pins_fused_qkv,
        copies_output=framework.copies_attention_output,
        repeats_kv=framework.repeats_kv,
        pads_qkv=framework.pins_fused_qkv,
        caps_scores=shape.architecture == "gemma2",
    )
    if framework.code != "transformers":
        return block
    block = replace(block, shares_adapters=True, **TRANSFORMERS.get(shape.architecture, {}))  # type: ignore[arg-type]
    if shape.architecture == "falcon" and shape.num_kv_heads == 1 < shape.num_heads:
        return replace(block, repeats_kv=False, keeps_mask=False, broadcasts_kv=True)
    return block
