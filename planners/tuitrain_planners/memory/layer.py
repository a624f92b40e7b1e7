"""One layer's activations: the tensors autograd keeps per token, counted one by one.

Per token, with c the compute dtype's bytes, an op-by-op count of a layer (fused attention kernel, no dropout):

    norm inputs       2 h n + 2 * 4               n = 4 + c with learnt gains, 4 without: a norm computes in 32 bits and keeps
                                                  its input so, and what it multiplies by the gain; 4 for the inverse rms
    norm outputs      2 h c                       read by q, k, v and by the feed-forward
    q, k, v           (a + 2 k) d c               after rotation; grouped heads are not repeated
    q/k norms         (a + k) d n + 4 (a + k)     only with qk_norm
    attention output  a d c + 4 a                 and the log-sum-exp (Dao et al. 2022); no s x s matrix
    feed-forward      4 f c gated (gate, up, silu(gate), product);  2 f c otherwise (activation, its square or GELU input)
    experts           router 8 E; per visited expert input and output 2 h c and a feed-forward of its width
    latent attention  compressed vectors and their norms; keys and queries whole, values

For Llama-3-8B that is 24.5 copies of h in 16 bits, as an op-level trace of the transformers model counts; the 34 s b h of
Korthikanti et al. (2022) assumes fused norms, GELU, f = 4 h, dropout and full-width keys. LayerNorm is fused: n = c. Written
out (naive), attention keeps its s x s scores too. Tensor parallelism cuts heads and f; sequence parallelism, h-wide terms too.

Frozen weights (LoRA) need no input; what is kept for adapters is in `adapters`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.framework import Framework
from tuitrain_planners.memory.adapters import AdaptedInputs, adapted_inputs
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

SOURCE: Final = "korthikanti2022"
COUNTED: Final = "measured: saved-tensors count of one layer, torch 2.13"
FULL_TRAINING: Final = AdaptedInputs(
    originals=frozenset({"attention", "heads", "feed-forward", "product"}), copied_bytes=0, inner_bytes=0
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
    mask_bytes: int = 1
    """Bytes dropout keeps per entry."""


class Layer:
    """Builds the terms: every one is (bytes per token) * tokens."""

    def __init__(
        self, shape: ModelShape, work: Work, precision: Precision, framework: Framework, adapter: Adapter | None = None
    ) -> None:
        self.shape, self.work, self.framework = shape, work, framework
        self.c = precision.compute_bytes
        wide_weights = precision.matrix.weight == 4 if adapter is None else adapter.base == "fp32"
        self.casts = framework.autocast and self.c < 4 and wide_weights
        self.stream_bytes = 4 if self.casts else self.c
        self.adapted = (
            FULL_TRAINING
            if adapter is None
            else adapted_inputs(
                shape, adapter, compute_bytes=self.c, autocast=framework.autocast and self.c < 4, mask_bytes=work.mask_bytes
            )
        )
        if adapter is not None and adapter.base not in ("16bit", "fp32") and framework.keeps_quantised_inputs:
            self.adapted = replace(self.adapted, originals=FULL_TRAINING.originals)
        fused_norm = shape.layer_norm or framework.fused_norms or work.fused
        gains = shape.norm_weights and adapter is None
        self.norm_bytes = self.stream_bytes if fused_norm else 4 + (self.stream_bytes if gains else 0)
        self.frozen = adapter is not None
        self.sizes: dict[str, int] = {
            "h": shape.hidden_size, "a": shape.num_heads, "k": shape.num_kv_heads, "d": shape.head_dim,
            "f": shape.ffn_size, "c": self.c, "n": self.norm_bytes,
        }  # fmt: skip

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
        s, n = self.shape, self.norm_bytes
        norms = s.norms_per_layer
        terms = [
            self.wide("norm inputs", norms * s.hidden_size * n + 4 * norms, f"{norms} * h * n + {4 * norms}", "hn"),
            *self.norm_outputs(),
            *self.attention(),
            *(self.experts() if moe else self.ffn()),
        ]
        if self.adapted.copied_bytes:
            terms.append(
                self.term(
                    "inputs cast or dropped out for adapters", self.adapted.copied_bytes, f"{self.adapted.copied_bytes}", ""
                )
            )
        if self.adapted.inner_bytes:
            terms.append(
                self.term("inner vectors of adapters", self.adapted.inner_bytes, f"{self.adapted.inner_bytes}", "", "hu2021")
            )
        return total("activations of one layer", [each for each in terms if each.value], source=SOURCE)

    def norm_outputs(self) -> tuple[Quantity, ...]:
        """What q, k, v and the feed-forward read: one copy each of the two norms, or one per consumer under autocast."""
        if self.casts and not self.frozen:
            copies = 5 if self.shape.gated_ffn else 4
        else:
            inputs = {"attention", "feed-forward"} & self.adapted.originals
            copies = min(len(inputs), 1 if self.shape.parallel_block and self.shape.norms_per_layer == 1 else 2)
        return (self.wide("norm outputs", copies * self.shape.hidden_size * self.c, f"{copies} * h * c", "hc"),)

    def attention(self) -> tuple[Quantity, ...]:
        """What the attention kernel reads and writes; the scores when they are written out."""
        s, c, n = self.shape, self.c, self.norm_bytes
        if s.latent is not None:
            return self._latent()
        q, kv = s.query_size, s.kv_size
        if self.framework.pins_fused_qkv and q == kv:
            qkv = self.term("queries, keys, all three as one product", 5 * q * c, "5 * a * d * c", "adc")
        elif self.framework.repeats_kv or self.work.naive:
            qkv = self.term("queries, keys, values", 3 * q * c, "3 * a * d * c", "adc")
        else:
            qkv = self.term("queries, keys, values", (q + 2 * kv) * c, "(a + 2 * k) * d * c", "akdc")
        terms = [qkv, *self.scores(), self._attention_output()]
        if self.framework.copies_attention_output and "heads" in self.adapted.originals:
            terms.append(self.term("attention output, copied", q * c, "a * d * c", "adc"))
        if s.qk_norm or s.wide_qk_norm:
            per_token = (q + kv) * n + 4 * (s.num_heads + s.num_kv_heads)
            terms.append(self.term("q and k norm inputs", per_token, "(a + k) * d * n + 4 * (a + k)", "akdn"))
        return tuple(terms)

    def scores(self) -> tuple[Quantity, ...]:
        """The s x s matrix of every head, in the forms its backward reads."""
        if not self.work.naive:
            return ()
        each, back = self.framework.score_bytes, self.work.seq_len
        return (
            derived(
                "attention scores", self.work.tokens * self.shape.num_heads * back * each, "bytes", "t * a * s * e", SOURCE,
                t=self.work.tokens, a=self.shape.num_heads, s=back, e=each,
            ),
        )  # fmt: skip

    def _latent(self) -> tuple[Quantity, ...]:
        s, c, n, latent = self.shape, self.c, self.norm_bytes, self.shape.latent
        assert latent is not None
        head, heads = latent.nope_head_dim + latent.rope_head_dim, s.num_heads
        compressed = latent.kv_rank + (latent.q_rank or 0)
        wide = heads * (2 * head + latent.nope_head_dim + latent.value_head_dim)
        return (
            self.term(
                "compressed vectors and their norms", compressed * (n + c), f"{compressed} * (n + c)", "nc", "deepseek2024"
            ),
            self.term("queries, keys, values", wide * c, f"{wide} * c", "c", "deepseek2024"),
            *self.scores(),
            self.term(
                "attention output", heads * (latent.value_head_dim * c + 4), f"a * ({latent.value_head_dim} * c + 4)", "ac"
            ),
        )

    def ffn(self, width: int | None = None, name: str = "feed-forward") -> tuple[Quantity, ...]:
        """Four f-wide tensors gated, two otherwise; what only a frozen matrix would read is not kept."""
        width = self.shape.ffn_size if width is None else width
        if not width:
            return ()
        tensors = self.ffn_tensors()
        if width == self.shape.ffn_size:
            return (self.term(name, tensors * width * self.c, f"{tensors} * f * c", "fc"),)
        return (self.term(name, tensors * width * self.c, f"{tensors} * {width} * c", "c"),)

    def ffn_tensors(self) -> int:
        """f-wide tensors of a feed-forward."""
        product = "product" in self.adapted.originals
        if self.work.fused or self.framework.fused_ffn:
            return 2 + product if self.shape.gated_ffn else 1 + product
        return 3 + product if self.shape.gated_ffn else 1 + product

    def experts(self) -> tuple[Quantity, ...]:
        """Router, dispatched copies of the hidden state, the visited experts' feed-forward, the shared one."""
        parts = self.shape.experts
        assert parts is not None
        h, c, visits = self.shape.hidden_size, self.c, parts.per_token
        return (
            self.term("router", 8 * parts.num, f"8 * {parts.num}", "", "shazeer2017"),
            self.term("dispatched tokens and their results", 2 * visits * h * c, f"2 * {visits} * h * c", "hc", "shazeer2017"),
            *self.ffn(visits * parts.ffn_size, "visited experts"),
            *self.ffn(parts.shared_ffn_size, "shared experts"),
        )

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
        q, kv, wide = s.query_size, s.kv_size, 2 if s.gated_ffn else 1
        inner = wide * self._inner(moe=moe)
        terms = (
            layer_input,
            self.term(
                "products q, k, v and of the feed-forward", (q + 2 * kv + inner) * c, f"((a + 2 * k) * d + {inner}) * c", "akdc"
            ),
            self._attention_output(),
            self.wide("products out and down", 2 * s.hidden_size * c, "2 * h * c", "hc"),
        )
        return total("activations of one layer", terms, source=SOURCE)

    def _every_second(self, *, moe: bool) -> tuple[Quantity, ...]:
        """Of q, k, v, out, gate, up, down: the first, third, ... and attention."""
        s, c, inner = self.shape, self.c, self._inner(moe=moe)
        return (
            self.term("products q, v and gate", (s.query_size + s.kv_size + inner) * c, f"((a + k) * d + {inner}) * c", "akdc"),
            self._attention_output(),
            self.wide("product down", s.hidden_size * c, "h * c", "hc"),
        )

    def _attention_output(self) -> Quantity:
        s, c = self.shape, self.c
        return self.term("attention output", s.query_size * c + 4 * s.num_heads, "a * d * c + 4 * a", "adc", "flash2022")

    def _inner(self, *, moe: bool) -> int:
        """Width of the feed-forward one token meets."""
        experts = self.shape.experts
        if not moe:
            return self.shape.ffn_size
        assert experts is not None
        return experts.per_token * experts.ffn_size + experts.shared_ffn_size

    def backward(self, *, moe: bool = False) -> Quantity:
        """Gradient of the residual stream, and of the f-wide tensors: two at once gated, three otherwise (op-level trace); of
        the scores, where there are any, one in the compute dtype and one in 32 bits."""
        wide, inner = 2 if self.shape.gated_ffn else 3, self._inner(moe=moe)
        ffn = self.term(
            "backward of one layer", (self.shape.hidden_size + wide * inner) * self.c, f"(h + {wide * inner}) * c", "hc"
        )
        if not self.work.naive:
            return ffn
        t, a, s = self.work.tokens, self.shape.num_heads, self.work.seq_len
        scores = derived(
            "gradients of scores", t * a * s * (self.c + 4), "bytes", "t * a * s * (c + 4)", SOURCE, t=t, a=a, s=s, c=self.c
        )
        return total("backward of one layer", (ffn, scores)) if scores.value > ffn.value else ffn

    def ends(self, *, first: bool = True, last: bool = True) -> Quantity:
        """Outside the layers: the norm behind the embedding; final norm, its output, the token ids and targets."""
        s, c, n = self.shape, self.c, self.norm_bytes
        before = n if first and s.embedding_norm else 0
        after = n + c if last else 0
        ids = 8 * (first + last) + 4 * (bool(before) + bool(after))
        return self.wide("ends", s.hidden_size * (before + after) + ids, f"h * {before + after} + {ids}", "h")
