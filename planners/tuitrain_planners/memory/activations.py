"""Activations of the native decoder: the tensors autograd keeps per layer, counted one by one.

Per layer and token, with c the compute dtype's bytes, an op-by-op count of the layer (fused attention kernel, no dropout):

    norm inputs       2 h n + 2 * 4               n = 4 + c with learnt gains, 4 without: a norm computes in 32 bits and keeps
                                                  its input so, and what it multiplies by the gain; 4 for the inverse rms
    norm outputs      2 h c                       read by q, k, v and by the feed-forward
    q, k, v           (a + 2 k) d c               after rotation; grouped heads are not repeated
    q/k norms         (a + k) d n + 4 (a + k)     only with qk_norm
    attention output  a d c + 4 a                 and the log-sum-exp (Dao et al. 2022); no s x s matrix
    feed-forward      4 f c gated (gate, up, silu(gate), product);  2 f c otherwise (activation, its square or GELU input)

For Llama-3-8B that is 24.5 copies of h in 16 bits, as an op-level trace of the transformers model counts; the 34 s b h of
Korthikanti et al. (2022) assumes fused norms, GELU, f = 4 h, dropout and full-width keys. LayerNorm is fused: n = c.

Validity: torch 2.13 without compile, which fuses and keeps less. Known error: equals a saved-tensors count of the decoder to
the byte; 16-bit copies of weights are counted with the weights.

Recompute: `full` keeps each layer's input only; `selective` keeps the layer's input and the results of matrix products and
attention, and redoes norms, rotation and activation functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuitrain_planners.errors import unknown_name
from tuitrain_planners.flops import RECOMPUTE
from tuitrain_planners.framework import FRAMEWORKS, Framework
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

_SOURCE = "korthikanti2022"
_COUNTED = "measured: saved-tensors count of one layer, torch 2.13"


@dataclass(frozen=True, kw_only=True, slots=True)
class Activations:
    """Bytes by moment."""

    saved: Quantity
    """Alive from forward until the layer's backward: all layers and the ends."""
    live_layer: Quantity
    """One layer's full set, as it stands when its backward begins."""
    rebuilt: Quantity
    """What recomputation adds to `saved` when a layer's backward begins; 0 without recomputation."""
    backward: Quantity
    """Gradients of activations while one layer's backward runs."""


class _Counter:
    """Builds the terms: every one is (bytes per token) * t."""

    def __init__(self, shape: ModelShape, tokens: int, precision: Precision, framework: Framework) -> None:
        self.shape, self.tokens, self.repeats_kv = shape, tokens, framework.repeats_kv
        self.autocast = framework.autocast and precision.compute_bytes < 4
        stream = 4 if self.autocast else precision.compute_bytes
        self.stream_bytes = stream
        self.norm_bytes = stream if shape.layer_norm or framework.fused_norms else 4 + (stream if shape.norm_weights else 0)
        self.sizes = {
            "t": tokens, "h": shape.hidden_size, "a": shape.num_heads, "k": shape.num_kv_heads, "d": shape.head_dim,
            "f": shape.ffn_size, "c": precision.compute_bytes, "n": self.norm_bytes,
        }  # fmt: skip
        self.c = precision.compute_bytes

    def term(self, name: str, per_token: int, formula: str, symbols: str, source: str = _COUNTED) -> Quantity:
        inputs: dict[str, Quantity | float] = {symbol: self.sizes[symbol] for symbol in f"t{symbols}"}
        return derived(name, per_token * self.tokens, "bytes", f"t * ({formula})", source, **inputs)

    def layer(self) -> Quantity:
        """Everything one layer keeps."""
        s, c, n = self.shape, self.c, self.norm_bytes
        q, kv = s.query_size, s.kv_size
        terms = [
            self.term("norm inputs", 2 * s.hidden_size * n + 8, "2 * h * n + 8", "hn"),
            self.norm_outputs(),
            self.qkv(),
            self.term("attention output", q * c + 4 * s.num_heads, "a * d * c + 4 * a", "adc", "flash2022"),
            self.ffn(),
        ]
        if s.qk_norm:
            per_token = (q + kv) * n + 4 * (s.num_heads + s.num_kv_heads)
            terms.append(self.term("q and k norm inputs", per_token, "(a + k) * d * n + 4 * (a + k)", "akdn"))
        return total("activations of one layer", terms, source=_SOURCE)

    def norm_outputs(self) -> Quantity:
        """What q, k, v and the feed-forward read: one copy each of the two norms, or one per consumer under autocast."""
        copies = (5 if self.shape.gated_ffn else 4) if self.autocast else 2
        return self.term("norm outputs", copies * self.shape.hidden_size * self.c, f"{copies} * h * c", "hc")

    def qkv(self) -> Quantity:
        """What attention reads, after rotation."""
        q, kv = self.shape.query_size, self.shape.kv_size
        if self.repeats_kv:
            return self.term("queries, keys, values", 3 * q * self.c, "3 * a * d * c", "adc")
        return self.term("queries, keys, values", (q + 2 * kv) * self.c, "(a + 2 * k) * d * c", "akdc")

    def ffn(self) -> Quantity:
        """Four f-wide tensors gated, two otherwise."""
        wide = 4 if self.shape.gated_ffn else 2
        return self.term("feed-forward", wide * self.shape.ffn_size * self.c, f"{wide} * f * c", "fc")

    def kept(self, recompute: str) -> Quantity:
        """What one layer keeps under recomputation."""
        s, c = self.shape, self.c
        layer_input = self.term("layer input", s.hidden_size * self.stream_bytes, f"h * {self.stream_bytes}", "h")
        if recompute == "full":
            return total("activations of one layer", (layer_input,), source=_SOURCE)
        q, kv, wide = s.query_size, s.kv_size, 2 if s.gated_ffn else 1
        terms = (
            layer_input,
            self.term("products q, k, v", (q + 2 * kv) * c, "(a + 2 * k) * d * c", "akdc"),
            self.term("attention output", q * c + 4 * s.num_heads, "a * d * c + 4 * a", "adc", "flash2022"),
            self.term("products out and down", 2 * s.hidden_size * c, "2 * h * c", "hc"),
            self.term("products of the feed-forward", wide * s.ffn_size * c, f"{wide} * f * c", "fc"),
        )
        return total("activations of one layer", terms, source=_SOURCE)

    def ends(self) -> Quantity:
        """Outside the layers: final norm, its output, the token ids and targets, the norm behind the embedding."""
        s, c, n = self.shape, self.c, self.norm_bytes
        if s.embedding_norm:
            return self.term("ends", s.hidden_size * (2 * n + c) + 8 + 16, "h * (2 * n + c) + 8 + 16", "hnc")
        return self.term("ends", s.hidden_size * (n + c) + 4 + 16, "h * (n + c) + 4 + 16", "hnc")

    def backward(self) -> Quantity:
        """Gradient of the residual stream, and of the f-wide tensors: two at once gated, three otherwise (op-level trace)."""
        wide = 2 if self.shape.gated_ffn else 3
        return self.term(
            "backward of one layer",
            (self.shape.hidden_size + wide * self.shape.ffn_size) * self.c,
            f"(h + {wide} * f) * c",
            "hfc",
        )


def activations(
    shape: ModelShape,
    *,
    seq_len: int,
    micro_batch: int,
    precision: Precision,
    recompute: str = "none",
    framework: Framework = FRAMEWORKS["tuitrain"],
) -> Activations:
    """Activation memory of one micro-batch."""
    if recompute not in RECOMPUTE:
        raise unknown_name("recompute mode", recompute, RECOMPUTE)
    counter = _Counter(shape, seq_len * micro_batch, precision, framework)
    layer = counter.layer()
    kept = layer if recompute == "none" else counter.kept(recompute)
    layers = derived("all layers", shape.num_layers * kept.value, "bytes", "L * layer", L=shape.num_layers, layer=kept)
    rebuilt = derived(
        "one layer recomputed",
        max(0, layer.value - kept.value),
        "bytes",
        "max(0, layer - kept)",
        _SOURCE,
        layer=layer,
        kept=kept,
    )
    saved = total("activations", (layers, counter.ends()), source=_SOURCE)
    return Activations(saved=saved, live_layer=layer, rebuilt=rebuilt, backward=counter.backward())
