"""FLOP per token of training (forward and backward), in named conventions.

Published utilisations differ by up to 29 % for one and the same run because they count differently, so every figure here
carries its convention:

    6n               6 N, all parameters (Hoffmann et al. 2022). No attention; counts the embedding lookup as a product.
    6n_nonembedding  6 (N - N_embedding) (Kaplan et al. 2020; transformers `total_flos`). No attention; with tied embeddings
                     the head's product is lost too.
    causal           every matrix product, attention at half (Megatron-LM since 2024): what a causal kernel computes.
    full             every matrix product, attention over the whole s x s square (PaLM appendix B; torchtitan, NeMo).
    with_recompute   `causal`, and each layer's forward once more (Korthikanti et al. 2022, section 5: hardware FLOP).
                     llm-analysis counts the head again too (+ 2 %).

A product of [m, k] and [k, n] is 2 m k n; backward is twice forward. Not counted: norms, softmax, rotations, the optimizer
(below 1 % at s = 8192). Known error of `causal`: kernels work in blocks, so they compute a little more than half.
"""

from __future__ import annotations

from typing import Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.parameters import count_parameters, embedding_parameters
from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

CONVENTIONS: Final = ("6n", "6n_nonembedding", "causal", "full", "with_recompute")
DEFAULT_CONVENTION: Final = "causal"
RECOMPUTE: Final = ("none", "selective", "full")
_UNIT: Final = "FLOP/token"


def flop_per_token(shape: ModelShape, seq_len: int, convention: str = DEFAULT_CONVENTION) -> Quantity:
    """Forward and backward of one token, in the named convention."""
    if convention not in CONVENTIONS:
        raise unknown_name("FLOP convention", convention, CONVENTIONS)
    if seq_len < 1:
        raise PlanError(f"seq_len is {seq_len}", "a sequence has at least one token")
    if convention == "6n":
        n = count_parameters(shape)
        return derived("FLOP per token (6n)", 6 * n.value, _UNIT, "6 * N", "chinchilla", N=n)
    if convention == "6n_nonembedding":
        n, embedding = count_parameters(shape), embedding_parameters(shape)
        return derived(
            "FLOP per token (6n_nonembedding)",
            6 * (n.value - embedding.value),
            _UNIT,
            "6 * (N - N_embedding)",
            "kaplan2020",
            N=n,
            N_embedding=embedding,
        )
    if convention == "with_recompute":
        return executed_flop_per_token(shape, seq_len, "full")
    source = "megatron2021" if convention == "causal" else "palm2022"
    return total(f"FLOP per token ({convention})", _products(shape, seq_len, convention), source=source)


def executed_flop_per_token(shape: ModelShape, seq_len: int, recompute: str, convention: str = DEFAULT_CONVENTION) -> Quantity:
    """What the device computes: the matrix products of `convention` and, under full recomputation, each layer's forward
    again. Selective recomputation keeps the products' results, so it repeats none of them."""
    if recompute not in RECOMPUTE:
        raise unknown_name("recompute mode", recompute, RECOMPUTE)
    if recompute != "full":
        return flop_per_token(shape, seq_len, convention)
    base = flop_per_token(shape, seq_len, convention)
    if not base.terms:
        raise PlanError(f"recomputation is not counted in the convention {convention!r}", "use causal or full")
    layers = total("layers", (each for each in base.terms if each.name != "head"))
    # Forward is a third of forward and backward.
    again = derived("layers forward again", layers.value / 3, _UNIT, "layers / 3", "korthikanti2022", layers=layers)
    return total("FLOP per token (with recompute)", (*base.terms, again), source="korthikanti2022")


def by_convention(shape: ModelShape, seq_len: int) -> dict[str, Quantity]:
    """All conventions side by side."""
    return {convention: flop_per_token(shape, seq_len, convention) for convention in CONVENTIONS}


def _products(shape: ModelShape, seq_len: int, convention: str) -> tuple[Quantity, ...]:
    """The list of matrix products, each forward and backward (3 x forward), summed over the layers."""
    sizes: dict[str, Quantity | float] = {
        "L": shape.num_layers, "h": shape.hidden_size, "a": shape.num_heads, "k": shape.num_kv_heads, "d": shape.head_dim,
        "f": shape.ffn_size, "s": seq_len, "V": shape.vocab_size,
    }  # fmt: skip
    layers, h, q, kv, f = shape.num_layers, shape.hidden_size, shape.query_size, shape.kv_size, shape.ffn_size
    matrices = 3 if shape.gated_ffn else 2
    # Scores q k^T and their product with v: 2 s a d each over the whole square.
    attention, half = ("3 * L * 4 * s * a * d", 1) if convention == "full" else ("3 * L * 4 * s * a * d / 2", 2)
    rows = (
        ("queries", 3 * layers * 2 * h * q, "3 * L * 2 * h * a * d", "Lhad"),
        ("keys and values", 3 * layers * 4 * h * kv, "3 * L * 4 * h * k * d", "Lhkd"),
        ("attention", 3 * layers * 4 * seq_len * q // half, attention, "Lsad"),
        ("attention output", 3 * layers * 2 * q * h, "3 * L * 2 * a * d * h", "Ladh"),
        ("ffn", 3 * layers * matrices * 2 * h * f, f"3 * L * {matrices} * 2 * h * f", "Lhf"),
        ("head", 3 * 2 * h * shape.vocab_size, "3 * 2 * h * V", "hV"),
    )
    return tuple(
        derived(name, value, _UNIT, formula, **{symbol: sizes[symbol] for symbol in symbols})
        for name, value, formula, symbols in rows
    )
