"""Sizes of a decoder, and which transformers class it is. What the trainer, the planner and a checkpoint's config.json
share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["llama", "qwen3", "nanochat"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderShape:
    """A dense decoder.

    llama     pre-norm RMSNorm, rotary positions, grouped-query attention, SwiGLU (Touvron et al. 2023, arXiv:2302.13971)
    qwen3     the same with RMSNorm on queries and keys, and a head width of its own (arXiv:2505.09388)
    nanochat  norms without weights, also on the embedding and on queries and keys; squared ReLU (So et al. 2021,
              arXiv:2109.08668); logits capped softly (Gemma 2, arXiv:2408.00118)
    """

    architecture: Architecture
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_size: int
    tie_embeddings: bool
    max_seq_len: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    logit_softcap: float | None = None

    @property
    def gated(self) -> bool:
        """Whether the feed-forward is SwiGLU (three matrices) rather than squared ReLU (two)."""
        return self.architecture != "nanochat"

    @property
    def qk_norm(self) -> bool:
        """Whether queries and keys are normalised."""
        return self.architecture != "llama"

    @property
    def norm_weights(self) -> bool:
        """Whether norms have learnt gains."""
        return self.architecture != "nanochat"
