"""Logits and loss: for a small model with a large vocabulary the largest tensor of all.

plain    F.cross_entropy on 32-bit logits: when backward begins, the saved log-softmax, the gradient of the picked entries
         and the gradient of the log-softmax stand together: 12 bytes per logit, s * b * V logits; 10 when the forward pass
         ends (8 in 32 bits). A soft-cap keeps its tanh: in the compute dtype (transformers), in 32 bits in the native decoder.
         (Op-level trace of torch 2.13: 12.0, 14.0 and 16.0 bytes per logit.)
bf16     the same on 16-bit logits: 6 bytes per logit.
split    logits in pieces of 128 tokens, each with a loss of its own in 32 bits (litgpt): logits and log-softmax of all, 8 bytes
         per logit, and both gradients of one piece, 8 more.
chunked-logits  the head's whole logits, the loss of 8 pieces one after another, each in 32 bits (torchtune's
         CEWithChunkedOutputLoss): logits, the log-softmax of all and one piece cast, 6.5 bytes per logit in 16 bits; then
         the log-softmax and both gradients of a piece, 5, and the logits where something still refers to them.
chunked  loss and gradients of some rows at a time, all within the forward pass: the gradients of the head's weights (a
         32-bit sum over chunks) and of the hidden states stand from then on. Per logit of a chunk 17 bytes (32-bit logits,
         their gradient, it minus one, the choice between the two, a mask), the previous chunk's gradient if there is one,
         and the logits before the cast or the cap. Or, if larger, the product of a chunk that 16-bit recipes add to the sum.
fused    one kernel for head and loss, in ceil(V / h) chunks whose logits become their gradient in place (Hsu et al. 2024): a
         chunk's logits, and the gradients of hidden states and of the head's weights in the compute dtype.

Tensor parallelism cuts the vocabulary. With a frozen head no gradient of its weights is made.
Known error: within 2 % of live tensors for this project's kernel without compile; compiled it needs less.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.families import NATIVE
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, given, total
from tuitrain_planners.shapes import ModelShape

LOSS_HEADS: Final = ("plain", "bf16", "split", "chunked-logits", "chunked", "fused")
CHUNK_BYTES: Final = 8 << 20
"""The chunked kernel takes as many rows as fit their 32-bit logits into this."""
CHUNK_MIN_ROWS: Final = 64
"""... but at least this many."""
BYTES_PER_LOGIT: Final = 12
BF16_BYTES_PER_LOGIT: Final = 6
SIXTEEN_BITS: Final = 2
SPLIT_ROWS: Final = 128
LOGIT_CHUNKS: Final = 8
CHUNK_BYTES_PER_LOGIT: Final = 17
_TRACED: Final = "measured: op-level trace of the loss head, torch 2.13"
_NO_GRADIENT: Final = given("head gradient", 0, "bytes", "definition")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossHead:
    """Bytes of the loss phase."""

    temporaries: Quantity
    """Alive at the worst moment of the loss, gone right after."""
    gradients: Quantity
    """Gradients that already stand at that moment (chunked only), part of the step's gradients afterwards."""


def loss_head(
    shape: ModelShape,
    *,
    tokens: int,
    precision: Precision,
    kind: str = "plain",
    chunk_rows: int | None = None,
    in_forward: bool = False,
    frozen: bool = False,
    held_bytes: int = 0,
) -> LossHead:
    """Memory of the loss of so many tokens. `chunk_rows=None`: as the kernel chooses. `in_forward`: at the end of the forward
    pass rather than when backward begins (plain only): the 16-bit logits, the same in 32 bits, the log-softmax. `frozen`: the
    head's weights are not trained. `held_bytes`: per logit, referenced through a plain loss's backward."""
    if kind not in LOSS_HEADS:
        raise unknown_name("loss head", kind, LOSS_HEADS)
    if kind == "chunked":
        return _chunked(shape, tokens, precision, chunk_rows, frozen=frozen)
    if kind == "fused":
        return _fused(shape, tokens, precision, frozen=frozen)
    c = precision.compute_bytes
    if kind == "split":
        return _split(shape, tokens)
    if kind == "chunked-logits":
        return _chunked_logits(shape, tokens, c, held_bytes)
    if kind == "bf16" and c > SIXTEEN_BITS:
        raise PlanError(f"a bf16 loss head in {precision.name}", "plain, chunked or fused; or a 16-bit precision")
    forward_bytes = 4 + 4 + (c if c < 4 else 0)
    plain_bytes = forward_bytes if in_forward else BYTES_PER_LOGIT
    each = given(
        "bytes per logit",
        (plain_bytes + held_bytes if kind == "plain" else BF16_BYTES_PER_LOGIT)
        + (_cap_bytes(shape, c) if shape.logit_softcap else 0),
        source=_TRACED,
    )
    vocab, value = shape.vocab_size, each.value * tokens * shape.vocab_size
    logits = derived("logits and loss", value, "bytes", "e * t * V", _TRACED, e=each, t=tokens, V=vocab)
    return LossHead(temporaries=total("head", (logits,)), gradients=_NO_GRADIENT)


def _cap_bytes(shape: ModelShape, compute_bytes: int) -> int:
    """What a soft-cap keeps of one logit: its tanh, in 32 bits where the native decoder makes it."""
    return 4 if shape.architecture in NATIVE else compute_bytes


def _chunked_logits(shape: ModelShape, tokens: int, c: int, held_bytes: int) -> LossHead:
    cast, n, v = (4 if c < 4 else 0), LOGIT_CHUNKS, tokens * shape.vocab_size
    value = max(v * (c + 4 + cast / n), v * (4 + 8 / n + held_bytes))
    formula = "ceil(t * V * max(c + 4 + cast / n, 4 + 8 / n + held))"
    inputs = {"t": tokens, "V": shape.vocab_size, "c": c, "cast": cast, "n": n, "held": held_bytes}
    logits = derived("logits and loss", ceil(value), "bytes", formula, _TRACED, **inputs)
    return LossHead(temporaries=total("head", (logits,)), gradients=_NO_GRADIENT)


def _split(shape: ModelShape, tokens: int) -> LossHead:
    vocab, rows = shape.vocab_size, min(tokens, SPLIT_ROWS)
    value = 8 * (tokens + rows) * vocab
    logits = derived("logits and loss", value, "bytes", "8 * (t + r) * V", _TRACED, t=tokens, r=rows, V=vocab)
    return LossHead(temporaries=total("head", (logits,)), gradients=_NO_GRADIENT)


def _fused(shape: ModelShape, tokens: int, precision: Precision, *, frozen: bool) -> LossHead:
    vocab, h, c = shape.vocab_size, shape.hidden_size, precision.compute_bytes
    rows = ceil(tokens / ceil(vocab / h))
    chunk = derived("one chunk", rows * vocab * (c + 4), "bytes", "r * V * (c + 4)", "liger2024", r=rows, V=vocab, c=c)
    hidden = derived("gradient of hidden states", tokens * h * c, "bytes", "t * h * c", t=tokens, h=h, c=c)
    gradient = _NO_GRADIENT if frozen else derived("head gradient", c * vocab * h, "bytes", "c * V * h", c=c, V=vocab, h=h)
    return LossHead(temporaries=total("head", (chunk, hidden)), gradients=gradient)


def _chunked(shape: ModelShape, tokens: int, precision: Precision, chunk_rows: int | None, *, frozen: bool) -> LossHead:
    vocab, hidden_size, c = shape.vocab_size, shape.hidden_size, precision.compute_bytes
    if chunk_rows is None:
        chunk_rows = max(CHUNK_MIN_ROWS, CHUNK_BYTES // (4 * vocab))
    if chunk_rows < 1:
        raise PlanError(f"chunk_rows is {chunk_rows}", "a chunk has at least one row")
    first, second = min(chunk_rows, tokens), max(0, min(chunk_rows, tokens - chunk_rows))
    before_cast = c if c < 4 or shape.logit_softcap else 0
    each = given("bytes per logit of a chunk", CHUNK_BYTES_PER_LOGIT + before_cast, source=_TRACED)
    product = given("product of a chunk", 0 if frozen or c == 4 else vocab * hidden_size * c, "bytes", "definition")
    value = max(each.value * first * vocab, (each.value * second + c * first) * vocab, product.value + 2 * c * first * vocab)
    formula = "max(e * r1 * V, (e * r2 + c * r1) * V, product + 2 * c * r1 * V)"
    inputs: dict[str, Quantity | float] = {"e": each, "r1": first, "r2": second, "V": vocab, "c": c, "product": product}
    chunk = derived("one chunk", value, "bytes", formula, _TRACED, **inputs)
    hidden = derived("gradient of hidden states", tokens * hidden_size * c, "bytes", "t * h * c", t=tokens, h=hidden_size, c=c)
    gradient = (
        _NO_GRADIENT
        if frozen
        else derived("head gradient", 4 * vocab * hidden_size, "bytes", "4 * V * h", V=vocab, h=hidden_size)
    )
    return LossHead(temporaries=total("head", (chunk, hidden)), gradients=gradient)
