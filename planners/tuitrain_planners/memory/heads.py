"""What attention keeps of one layer: queries, keys, values, the kernel's result, and scores where they are written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tuitrain_planners.matrices import hidden_matrices
from tuitrain_planners.quantity import Quantity, derived

if TYPE_CHECKING:
    from tuitrain_planners.memory.layer import Layer
    from tuitrain_planners.shapes import ModelShape

FP32_BYTES: Final = 4


def attention_terms(layer: Layer) -> tuple[Quantity, ...]:
    """All of it."""
    s, m = layer.shape, layer.inner_norm_bytes
    if s.latent is not None:
        return _latent(layer)
    terms = [_queries_keys_values(layer), *scores(layer), *mask(layer), *output(layer), *_padded(layer)]
    if s.qk_norm:
        per_token = (s.query_size + s.kv_size) * m + 4 * (s.num_heads + s.num_kv_heads)
        terms.append(layer.term("q and k norm inputs", per_token, "(a + k) * d * m + 4 * (a + k)", "akdm"))
    if s.wide_qk_norm:
        terms.append(layer.term("q and k norm inputs", (s.query_size + s.kv_size) * m + 8, "(a + k) * d * m + 8", "akdm"))
    return tuple(terms)


def _queries_keys_values(layer: Layer) -> Quantity:
    s, c, block, naive = layer.shape, layer.c, layer.block, layer.work.naive
    q, kv = s.query_size, s.kv_size
    if block.broadcasts_kv and not naive:
        return layer.term("queries, keys, values in 32 bits", 4 * (q + 2 * kv), "4 * (a + 2 * k) * d", "akd")
    if naive and block.wide_queries and not layer.numbers.autocast:
        return layer.term("queries and keys in 32 bits, values", q * (8 + c), "a * d * (8 + c)", "adc")
    if block.fused_qkv and block.rotates and not naive and (q == kv or not block.repeats_kv):
        return layer.term("queries, keys, all three as one product", (2 * q + 3 * kv) * c, "(2 * a + 3 * k) * d * c", "akdc")
    if naive or block.repeats_kv:
        return layer.term("queries, keys, values", 3 * q * c, "3 * a * d * c", "adc")
    return layer.term("queries, keys, values", (q + 2 * kv) * c, "(a + 2 * k) * d * c", "akdc")


def writes_scores(layer: Layer) -> bool:
    """Whether attention is written out."""
    return layer.work.naive or layer.block.broadcasts_kv


def score_bytes(layer: Layer) -> int:
    """Bytes kept per score: softmax in 32 bits and its narrow copy, the tanh of a cap; less in fused kernels."""
    c, block = layer.c, layer.block
    if block.broadcasts_kv and not layer.work.naive:
        return FP32_BYTES
    if layer.framework.fused_scores or not (block.wide_scores or layer.numbers.autocast):
        return c
    return FP32_BYTES + (c if c < FP32_BYTES else 0) + (c if block.caps_scores else 0)


def scores(layer: Layer) -> tuple[Quantity, ...]:
    """The s x s matrix of every head, in the forms its backward reads."""
    if not writes_scores(layer):
        return ()
    t, a, back, each = layer.work.tokens, layer.shape.num_heads, layer.work.seq_len, score_bytes(layer)
    return (derived("attention scores", t * a * back * each, "bytes", "t * a * s * e", layer.source, t=t, a=a, s=back, e=each),)


def mask(layer: Layer) -> tuple[Quantity, ...]:
    """The mask of one layer, where there is one; one for all heads."""
    if not layer.block.keeps_mask or layer.work.naive:
        return ()
    t, back, c = layer.work.tokens, layer.work.seq_len, layer.c
    return (derived("attention mask", t * back * c, "bytes", "t * s * c", layer.source, t=t, s=back, c=c),)


def output(layer: Layer) -> tuple[Quantity, ...]:
    """The kernel's result and its log-sum-exp, which its backward reads; a copy for the next product where the layout differs.
    Written out, only that product reads the result."""
    q, c, read = layer.shape.query_size, layer.c, "heads" in layer.adapted.originals
    if writes_scores(layer):
        return (layer.term("attention output", q * c, "a * d * c", "adc"),) if read else ()
    copied = (layer.term("attention output, copied", q * c, "a * d * c", "adc"),) if read and layer.block.copies_output else ()
    return (kernel_output(layer), *copied)


def kernel_output(layer: Layer) -> Quantity:
    """What a fused kernel gives."""
    s, c = layer.shape, layer.c
    if s.latent is not None:
        value = s.latent.value_head_dim
        return layer.term("attention output", s.num_heads * (value * c + 4), f"a * ({value} * c + 4)", "ac", "flash2022")
    return layer.term("attention output", s.query_size * c + 4 * s.num_heads, "a * d * c + 4 * a", "adc", "flash2022")


def products_width(shape: ModelShape) -> tuple[int, str]:
    """Width of all results of q, k and v products together, and its formula."""
    if shape.latent is None:
        return shape.query_size + 2 * shape.kv_size, "(a + 2 * k) * d"
    width = sum(each.rows for each in hidden_matrices(shape) if each.target in ("q", "k", "v"))
    return width, f"{width}"


def _padded(layer: Layer) -> tuple[Quantity, ...]:
    width = layer.adapted.padded_width
    if not width:
        return ()
    return (layer.term("results of adapters on some of q, k, v", width * layer.c, f"{width} * c", "c"),)


def _latent(layer: Layer) -> tuple[Quantity, ...]:
    """Compressed vectors with their norms; keys whole; values as a view of the product that gives them and unrotated keys."""
    s, c, m, latent = layer.shape, layer.c, layer.inner_norm_bytes, layer.shape.latent
    assert latent is not None
    head, heads, value = latent.nope_head_dim + latent.rope_head_dim, s.num_heads, latent.value_head_dim
    ranks = {"compressed keys": latent.kv_rank, "compressed queries": latent.q_rank or 0}
    compressed, norms = sum(ranks.values()), 1 + (latent.q_rank is not None)
    read = sum(rank for name, rank in ranks.items() if name in layer.adapted.originals)
    wide = heads * (2 * head + latent.nope_head_dim + value)
    terms = [
        layer.term(
            "compressed vectors and their norms", compressed * m + read * c + 4 * norms,
            f"{compressed} * m + {read} * c + {4 * norms}", "mc", "deepseek2024",
        ),
        layer.term("queries, keys, values", wide * c, f"{wide} * c", "c", "deepseek2024"),
        *scores(layer),
    ]  # fmt: skip
    if not layer.work.naive:
        terms.append(kernel_output(layer))
    if "heads" in layer.adapted.originals and (layer.work.naive or layer.block.copies_output):
        terms.append(layer.term("attention output, copied", heads * value * c, f"a * {value} * c", "ac"))
    return tuple(terms)
