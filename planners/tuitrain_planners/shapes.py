"""ModelShape: the sizes and parts of a decoder, checked.

Letters used in formulas everywhere in the planner: V vocabulary, h hidden size, L layers, a query heads, k key/value heads,
d head width, f feed-forward width, s sequence length, b micro-batch, N parameters, D tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.families import FAMILIES as FAMILIES
from tuitrain_planners.families import NATIVE, WITH_EXPERTS
from tuitrain_planners.parts import Experts, LatentAttention, SlidingWindow

SIZES: Final = (
    "vocab_size", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_size", "max_seq_len",
)  # fmt: skip
"""Fields that are sizes: whole numbers of at least 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Sizes and parts of a decoder-only transformer. Every count the planner makes starts here."""

    name: str
    architecture: str
    """A key of FAMILIES."""
    vocab_size: int
    """V: rows of the embedding, padding included."""
    hidden_size: int
    """h: width of the residual stream."""
    num_layers: int
    """L."""
    num_heads: int
    """a: query heads."""
    num_kv_heads: int
    """k: key/value heads; divides num_heads (grouped-query attention)."""
    head_dim: int
    """d: width of one head; a * d need not be h (Qwen3)."""
    ffn_size: int
    """f: inner width of the feed-forward."""
    max_seq_len: int
    """Longest sequence the model is made for; sizes the learned or rotary position table."""
    tie_embeddings: bool
    """Whether input embedding and output head are one matrix."""
    gated_ffn: bool = True
    """Three matrices (SwiGLU) rather than two."""
    qk_norm: bool = False
    """Normalise queries and keys over head_dim."""
    norm_weights: bool = True
    """Whether norms have learned scales."""
    layer_norm: bool = False
    """LayerNorm (scale and shift) instead of RMSNorm (scale)."""
    attention_bias: bool = False
    """Biases on q, k, v and the output projection."""
    ffn_bias: bool = False
    """Biases on the feed-forward matrices."""
    learned_positions: bool = False
    """A table of max_seq_len position vectors (GPT-2) instead of rotary embeddings."""
    logit_softcap: bool = False
    """Logits pass through cap * tanh(logits / cap); costs memory in the loss head."""
    embedding_norm: bool = False
    """One more norm between embedding and first layer; costs one saved activation."""
    norms_per_layer: int = 2
    """Norms of width h in a layer: 2; 4 around both blocks (Gemma 2); 1 before parallel blocks (Phi-2, Falcon-7B)."""
    norm_bias: bool = True
    """Whether LayerNorm has a shift (MPT has none). Without effect on RMSNorm."""
    embedding_norm_weights: bool = False
    """Whether the norm behind the embedding has learned scales (BLOOM); the native decoder's has none."""
    wide_qk_norm: bool = False
    """Query and key norms over all heads together: a * d and k * d scales (OLMo 2)."""
    qkv_bias: bool = False
    """Biases on q, k and v alone (Qwen 2.5)."""
    head_bias: bool = False
    """A bias of V on the output head (Phi-2)."""
    position_offset: int = 0
    """Rows of the learned position table beyond max_seq_len (OPT: 2)."""
    relative_positions: bool = False
    """A projection of relative positions to keys in every layer (Dai et al. 2019; Gopher, Chinchilla)."""
    parallel_block: bool = False
    """Attention and feed-forward read the same input side by side (GPT-J, Falcon, Phi-2)."""
    experts: Experts | None = None
    """A mixture of experts in place of the feed-forward; None: dense."""
    latent: LatentAttention | None = None
    """Multi-head latent attention; None: plain heads."""
    window: SlidingWindow | None = None
    """Layers with a sliding window; None: every layer looks at everything."""

    def __post_init__(self) -> None:
        for name in SIZES:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise PlanError(f"{self.name}: {name} is {value!r}", "sizes of a model are whole numbers of at least 1")
        if self.architecture not in FAMILIES:
            raise unknown_name("architecture", self.architecture, FAMILIES)
        if self.num_heads % self.num_kv_heads:
            divisors = [str(each) for each in range(1, self.num_heads + 1) if self.num_heads % each == 0]
            raise PlanError(
                f"{self.name}: num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}",
                f"choose num_kv_heads among {', '.join(divisors)}",
            )
        self._check_parts()
        if self.head_dim % 2 and not self.learned_positions:
            raise PlanError(
                f"{self.name}: head_dim {self.head_dim} is odd", "rotary embeddings turn pairs: choose an even head_dim"
            )

    def _check_parts(self) -> None:
        """Parts that contradict each other, or that no formula here counts."""
        if self.norms_per_layer < 1:
            raise PlanError(f"{self.name}: norms_per_layer is {self.norms_per_layer}", "at least 1")
        if self.position_offset < 0:
            raise PlanError(f"{self.name}: position_offset is {self.position_offset}", "zero or more")
        if self.architecture in WITH_EXPERTS and self.experts is None:
            raise PlanError(
                f"{self.name}: {self.architecture} without experts", "give num, per_token and ffn_size of its experts"
            )
        if self.experts is not None and self.ffn_bias:
            raise PlanError(f"{self.name}: experts with biases", "only experts without are counted")
        if (self.latent is not None) != (self.architecture == "deepseek-v3"):
            what = "without" if self.latent is None else "with"
            raise PlanError(
                f"{self.name}: {self.architecture} {what} latent attention", "it is deepseek-v3's, and always there"
            )
        if self.latent is not None:
            self._check_latent(self.latent)
        if self.qk_norm and self.wide_qk_norm:
            raise PlanError(f"{self.name}: both qk_norm and wide_qk_norm", "queries are normalised per head or all together")
        if self.experts is not None and self.experts.first_dense_layers >= self.num_layers:
            raise PlanError(
                f"{self.name}: {self.experts.first_dense_layers} dense layers of {self.num_layers}", "some layer has experts"
            )
        if self.window is not None and self.window.num_layers > self.num_layers:
            raise PlanError(
                f"{self.name}: {self.window.num_layers} layers with windows of {self.num_layers}", "at most all of them"
            )

    def _check_latent(self, latent: LatentAttention) -> None:
        heads = latent.nope_head_dim + latent.rope_head_dim
        if self.head_dim != heads:
            raise PlanError(
                f"{self.name}: head_dim {self.head_dim} of queries with {latent.nope_head_dim} + {latent.rope_head_dim}",
                f"with latent attention head_dim is their sum, {heads}",
            )
        if self.num_kv_heads != self.num_heads:
            raise PlanError(
                f"{self.name}: {self.num_kv_heads} key/value heads of {self.num_heads} with latent attention",
                "it shares one compressed vector, not heads: num_kv_heads = num_heads",
            )
        if self.attention_bias or self.qkv_bias or self.qk_norm or self.wide_qk_norm:
            raise PlanError(
                f"{self.name}: latent attention with biases or norms of heads", "only latent attention without is counted"
            )

    @property
    def num_moe_layers(self) -> int:
        """Layers with experts."""
        return 0 if self.experts is None else self.num_layers - self.experts.first_dense_layers

    @property
    def query_size(self) -> int:
        """a * d: width of all query heads together."""
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """k * d: width of all key heads together."""
        return self.num_kv_heads * self.head_dim


def swiglu_size(hidden_size: int, *, multiple: int = 64) -> int:
    """Inner width of a gated feed-forward: 8/3 h (Shazeer 2020: three matrices of it weigh as two of 4 h), rounded up."""
    return -(-8 * hidden_size // (3 * multiple)) * multiple


def native_gap(shape: ModelShape) -> str | None:
    """What the native decoder lacks to train this shape, in words; None when it lacks nothing."""
    if shape.architecture not in NATIVE:
        return f"the architecture {shape.architecture} (it has {', '.join(NATIVE)})"
    for part, words in (("experts", "experts"), ("latent", "latent attention"), ("window", "sliding windows")):
        if getattr(shape, part) is not None:
            return words
    family = FAMILIES[shape.architecture]
    sizes = {"name", "architecture", "tie_embeddings", "experts", "latent", "window", *SIZES}
    other = [
        each.name
        for each in fields(shape)
        if each.name not in sizes and getattr(shape, each.name) != family.get(each.name, each.default)
    ]
    return ", ".join(f"{name} = {getattr(shape, name)}" for name in other) or None
