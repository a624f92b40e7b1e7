"""One layer's activations: the tensors autograd keeps per token, counted one by one.

Per token, with c the compute dtype's bytes, an op-by-op count of a layer (fused attention kernel, no dropout):

    norm inputs       h n + 4 for each norm       n = 4 + c with learnt gains, 4 without: a norm computes in 32 bits and keeps
                                                  its input so, and what it multiplies by the gain; 4 for the inverse rms
    norm outputs      2 h c                       read by q, k, v and by the feed-forward (of norms behind a block: its input)
    q, k, v           (a + 2 k) d c               after rotation; grouped heads are not repeated
    q/k norms         (a + k) d n + 4 (a + k)     only with qk_norm
    attention output  a d c + 4 a                 and the log-sum-exp (Dao et al. 2022); no s x s matrix
    feed-forward      4 f c gated (gate, up, silu(gate), product);  2 f c otherwise (activation, its square or GELU input)
    experts           router 4 E + 40 e; per visited expert input and output 2 h c and a feed-forward of its width
    latent attention  compressed vectors and their norms; keys and queries whole, values

For Llama-3-8B that is 24.5 copies of h in 16 bits, as an op-level trace of the transformers model counts; the 34 s b h of
Korthikanti et al. (2022) assumes fused norms, GELU, f = 4 h, dropout and full-width keys. LayerNorm is fused: n = c, and norms
of parallel blocks share their input. Written out (naive), attention keeps its s x s scores too. How the code of a framework
differs from that - fused q, k, v, GELU of elementary operations, gains in 32 bits - is in `blocks`. Tensor parallelism cuts
heads and f; sequence parallelism, h-wide terms too.

Frozen weights (LoRA) need no input; what is kept for adapters is in `adapters`. peft's preparation for quantised training
widens norms: the residual stream then is in 32 bits, and everything that autocast does not narrow again.

Known error: equal to saved-tensors counts of small models of 16 families to 1 %, to 1.5 % for GPT-J and DeepSeek-V3
(tests/golden/test_layer_bytes.py). A padding mask is not counted: it repeats keys and values, and is kept in every layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.framework import Framework
from tuitrain_planners.memory.adapters import AdaptedInputs, Numbers, adapted_inputs
from tuitrain_planners.memory.blocks import block_of
from tuitrain_planners.memory.feedforward import expert_terms, ffn_terms
from tuitrain_planners.memory.heads import attention_terms, kernel_output, products_width, writes_scores
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

FP32_BYTES: Final = 4
PLAIN_BASES: Final = ("16bit", "fp32")
"""Frozen matrices that are kept as they are read."""
SOURCE: Final = "korthikanti2022"
COUNTED: Final = "measured: saved-tensors count of one layer, torch 2.13"
FULL_TRAINING: Final = AdaptedInputs(
    originals=frozenset({"attention", "heads", "feed-forward", "product", "compressed queries", "compressed keys"})
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How many tokens one device works on, and how."""

    tokens: int
    """t: tokens of a micro-batch on this device."""
    seq_len: int
    """s: tokens a query looks back on at most."""
    cut: int = 1
    """Into how many parts h-wide tensors are cut along the sequence (sequence parallelism)."""
    naive: bool = False
    """Whether attention writes its scores out."""
    fused: bool = False
    """Whether a compiler has fused norms and activation functions (on GPUs)."""
    mask_bytes: int | None = 1
    """Bytes dropout keeps per entry; None: as many as the entry has (torch on a CPU)."""
    imbalance: float = 1.0
    """Visits of this device's experts over the mean."""


class Layer:
    """Builds the terms: every one is (bytes per token) * tokens."""

    source: Final = SOURCE

    def __init__(
        self, shape: ModelShape, work: Work, precision: Precision, framework: Framework, adapter: Adapter | None = None
    ) -> None:
        self.shape, self.work, self.framework, self.adapter = shape, work, framework, adapter
        self.block = block_of(shape, framework)
        self.frozen = adapter is not None
        narrows = framework.autocast and precision.compute_bytes < FP32_BYTES
        widened = adapter is not None and adapter.rest_in_fp32
        self.c = FP32_BYTES if widened and not narrows else precision.compute_bytes
        self.casts = narrows and (precision.matrix.weight == FP32_BYTES if adapter is None else adapter.base == "fp32")
        self.stream_bytes = FP32_BYTES if self.casts or widened else self.c
        # A quantised product answers in the type of its input, so a stream in 32 bits stays one through the feed-forward.
        self.ffn_bytes = FP32_BYTES if widened and adapter is not None and adapter.base not in PLAIN_BASES else self.c
        self.numbers = Numbers(compute=self.c, input=self.stream_bytes, autocast=narrows, mask=work.mask_bytes)
        self.adapted = self._adapted(moe=False)
        fused_norm = shape.layer_norm or framework.fused_norms or work.fused
        gain_bytes = FP32_BYTES if self.block.wide_gains else self.stream_bytes
        gains = shape.norm_weights and adapter is None
        self.norm_bytes = self.stream_bytes if fused_norm else FP32_BYTES + (gain_bytes if gains else 0)
        # Norms of heads and of compressed vectors read products, which autocast answers in the compute dtype.
        inner_gain = FP32_BYTES if self.block.wide_gains else self.c
        self.inner_norm_bytes = self.c if fused_norm else FP32_BYTES + (inner_gain if gains else 0)
        self.sizes: dict[str, int] = {
            "h": shape.hidden_size, "a": shape.num_heads, "k": shape.num_kv_heads, "d": shape.head_dim,
            "f": shape.ffn_size, "c": self.c, "n": self.norm_bytes, "m": self.inner_norm_bytes,
        }  # fmt: skip

    def _adapted(self, *, moe: bool) -> AdaptedInputs:
        """What a layer, with or without experts, keeps of what its matrices read."""
        adapter = self.adapter
        if adapter is None:
            return FULL_TRAINING
        adapted = adapted_inputs(self.shape, adapter, self.block, self.numbers, moe=moe)
        if adapter.base not in PLAIN_BASES and self.framework.keeps_quantised_inputs:
            return replace(adapted, originals=FULL_TRAINING.originals)
        return adapted

    def term(self, name: str, per_token: int, formula: str, symbols: str, source: str = COUNTED) -> Quantity:
        """A tensor of this device's tokens."""
        inputs: dict[str, Quantity | float] = {"t": self.work.tokens, **{symbol: self.sizes[symbol] for symbol in symbols}}
        return derived(name, per_token * self.work.tokens, "bytes", f"t * ({formula})", source, **inputs)

    def wide(self, name: str, per_token: int, formula: str, symbols: str, source: str = COUNTED) -> Quantity:
        """A tensor outside the cut matrices: sequence parallelism cuts it too."""
        if self.work.cut == 1:
            return self.term(name, per_token, formula, symbols, source)
        inputs: dict[str, Quantity | float] = {symbol: self.sizes[symbol] for symbol in symbols}
        inputs |= {"t": self.work.tokens, "p": self.work.cut}
        return derived(
            name, per_token * self.work.tokens // self.work.cut, "bytes", f"floor(t * ({formula}) / p)", source, **inputs
        )

    def all(self, *, moe: bool = False) -> Quantity:
        """Everything one layer keeps."""
        self.adapted = adapted = self._adapted(moe=moe)
        terms = [
            self._norm_inputs(),
            *self._norm_outputs(moe=moe),
            *attention_terms(self),
            *(expert_terms(self) if moe else ffn_terms(self)),
        ]
        if adapted.copied_bytes:
            terms.append(
                self.term("inputs cast or dropped out for adapters", adapted.copied_bytes, f"{adapted.copied_bytes}", "")
            )
        if adapted.inner_bytes:
            terms.append(self.term("inner vectors of adapters", adapted.inner_bytes, f"{adapted.inner_bytes}", "", "hu2021"))
        return total("activations of one layer", [each for each in terms if each.value], source=SOURCE)

    def _norm_inputs(self) -> Quantity:
        s, n, norms = self.shape, self.norm_bytes, self.shape.norms_per_layer
        inputs = 1 if s.parallel_block and n == self.stream_bytes else norms
        return self.wide("norm inputs", inputs * s.hidden_size * n + 4 * norms, f"{inputs} * h * n + {4 * norms}", "hn")

    def _norm_outputs(self, *, moe: bool) -> tuple[Quantity, ...]:
        """What q, k, v and the feed-forward read: one copy each of the two norms, or one per product under autocast."""
        if self.casts and not self.frozen:
            copies = self._first_products(moe=moe)
        else:
            inputs = {"attention", "feed-forward"} & self.adapted.originals
            copies = min(len(inputs), 1 if self.shape.parallel_block and self.shape.norms_per_layer == 1 else 2)
        return (self.wide("norm outputs", copies * self.shape.hidden_size * self.c, f"{copies} * h * c", "hc"),)

    def _first_products(self, *, moe: bool) -> int:
        """Products that read a norm; of experts the router's, and those of shared ones."""
        block, experts = self.block, self.shape.experts
        attention = 1 if block.fused_qkv else 2 if self.shape.latent is not None else 3
        ffn = 2 if self.shape.gated_ffn and not block.fused_gate else 1
        if not moe or experts is None:
            return attention + ffn
        return attention + 1 + (ffn if experts.shared_ffn_size else 0) + experts.shared_gate

    def ffn_inner(self) -> int:
        """f-wide tensors the activation function keeps; a fused kernel makes its own result again."""
        fused = self.work.fused or self.framework.fused_ffn
        return self.block.inner if not fused else 2 if self.shape.gated_ffn else 1

    def ffn_product(self) -> int:
        """Whether what the down matrix reads is kept beside them."""
        return int(self.block.product and "product" in self.adapted.originals)

    def kept(self, recompute: str, *, moe: bool = False) -> Quantity:
        """What one layer keeps under recomputation."""
        s, c = self.shape, self.c
        layer_input = self.wide("layer input", s.hidden_size * self.stream_bytes, f"h * {self.stream_bytes}", "h")
        if recompute == "full":
            return total("activations of one layer", (layer_input,), source=SOURCE)
        if self.framework.selective == "attention":
            return total(
                "activations of one layer", [each for each in self.all(moe=moe).terms if each.name != "attention scores"]
            )
        if self.framework.selective == "every second product":
            return total("activations of one layer", (layer_input, *self._every_second(moe=moe)), source=SOURCE)
        inner = (2 if s.gated_ffn else 1) * self._inner(moe=moe)
        width, letters = products_width(s)
        terms = (
            layer_input,
            self.term("products q, k, v and of the feed-forward", (width + inner) * c, f"({letters} + {inner}) * c", "akdc"),
            kernel_output(self),
            self.wide("products out and down", 2 * s.hidden_size * c, "2 * h * c", "hc"),
        )
        return total("activations of one layer", terms, source=SOURCE)

    def _every_second(self, *, moe: bool) -> tuple[Quantity, ...]:
        """Of q, k, v, out, gate, up, down: the first, third, ... and attention."""
        s, c, inner = self.shape, self.c, self._inner(moe=moe)
        return (
            self.term("products q, v and gate", (s.query_size + s.kv_size + inner) * c, f"((a + k) * d + {inner}) * c", "akdc"),
            kernel_output(self),
            self.wide("product down", s.hidden_size * c, "h * c", "hc"),
        )

    def _inner(self, *, moe: bool) -> int:
        """Width of the feed-forward one token meets."""
        experts = self.shape.experts
        if not moe:
            return self.shape.ffn_size
        assert experts is not None
        return experts.per_token * experts.ffn_size + experts.shared_ffn_size

    def backward(self, *, moe: bool = False) -> Quantity:
        """Gradient of the residual stream, and of the f-wide tensors: two at once gated, three otherwise (op-level trace); or
        of the scores, where there are any and they are more, one in the compute dtype and one in 32 bits."""
        h, c, wide, inner = self.shape.hidden_size, self.c, 2 if self.shape.gated_ffn else 3, self._inner(moe=moe)
        if not writes_scores(self):
            return self.term("backward of one layer", (h + wide * inner) * c, f"(h + {wide * inner}) * c", "hc")
        t, a, s = self.work.tokens, self.shape.num_heads, self.work.seq_len
        return derived(
            "backward of one layer", t * (h * c + max(wide * inner * c, a * s * (c + 4))), "bytes",
            "t * (h * c + max(w * c, a * s * (c + 4)))", SOURCE, t=t, h=h, c=c, w=wide * inner, a=a, s=s,
        )  # fmt: skip

    def ends(self, *, first: bool = True, last: bool = True) -> Quantity:
        """Outside the layers: the norm behind the embedding; final norm, its output where the head is trained, the token ids
        and targets."""
        s, c, n = self.shape, self.c, self.norm_bytes
        before = n if first and s.embedding_norm else 0
        reads = self.adapter is None or self.adapter.trains_ends or "head" in self.adapter.targets
        after = n + c * reads if last else 0
        ids = 8 * (first + last) + 4 * (bool(before) + bool(after))
        return self.wide("ends", s.hidden_size * (before + after) + ids, f"h * {before + after} + {ids}", "h")
