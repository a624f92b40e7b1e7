"""Families of decoders: what the models of each architecture are made of. Sizes are a shape's own.

Sources: the modelling code of transformers 5.23, class by class; a test instantiates each family and compares counts.
"""

from __future__ import annotations

from typing import Any, Final

_OLD: Final[dict[str, Any]] = {"gated_ffn": False, "layer_norm": True}
_BIASED: Final[dict[str, Any]] = {**_OLD, "attention_bias": True, "ffn_bias": True}
_NEOX: Final[dict[str, Any]] = {**_BIASED, "parallel_block": True, "tie_embeddings": False}
_GEMMA: Final[dict[str, Any]] = {"gated_ffn": True, "tie_embeddings": True}

FAMILIES: Final[dict[str, dict[str, Any]]] = {
    "llama": {"gated_ffn": True},
    "qwen3": {"gated_ffn": True, "qk_norm": True},
    "nanochat": {"gated_ffn": False, "qk_norm": True, "norm_weights": False, "logit_softcap": True, "embedding_norm": True},
    "gpt2": {**_BIASED, "learned_positions": True, "tie_embeddings": True},
    "qwen2": {"gated_ffn": True, "qkv_bias": True},
    "qwen2-moe": {"gated_ffn": True, "qkv_bias": True},
    "qwen3-moe": {"gated_ffn": True, "qk_norm": True},
    "mixtral": {"gated_ffn": True},
    "deepseek-v3": {"gated_ffn": True},
    "gemma": _GEMMA,
    "gemma2": {**_GEMMA, "norms_per_layer": 4, "logit_softcap": True},
    "gemma3": {**_GEMMA, "norms_per_layer": 4, "qk_norm": True},
    "olmo2": {"gated_ffn": True, "wide_qk_norm": True},
    "phi": {**_NEOX, "norms_per_layer": 1, "head_bias": True},
    "phi3": {"gated_ffn": True},
    "gpt-neox": _NEOX,
    "stablelm-alpha": _NEOX,
    "gptj": {
        **_OLD, "ffn_bias": True, "parallel_block": True, "norms_per_layer": 1, "head_bias": True, "tie_embeddings": False,
    },
    "falcon": {**_OLD, "parallel_block": True, "norms_per_layer": 1, "tie_embeddings": True},
    "mpt": {**_OLD, "norm_bias": False, "tie_embeddings": True},
    "bloom": {**_BIASED, "embedding_norm": True, "embedding_norm_weights": True, "tie_embeddings": True},
    "opt": {**_BIASED, "learned_positions": True, "position_offset": 2, "tie_embeddings": True},
    "chinchilla": {"gated_ffn": False, "relative_positions": True, "tie_embeddings": True},
}  # fmt: skip
"""Fields of `ModelShape` that an architecture sets. phi3 fuses q, k, v and gate, up into two matrices: the same counts."""

NATIVE: Final = ("llama", "qwen3", "nanochat")
"""Architectures the native decoder trains; the others are planned."""

WITH_EXPERTS: Final = ("qwen2-moe", "qwen3-moe", "mixtral", "deepseek-v3")
"""Architectures whose shapes need `experts`; deepseek-v3 needs `latent` too."""

BY_DEPTH: Final = tuple(name for name in FAMILIES if name not in WITH_EXPERTS)
"""Architectures the depth dial knows a rule for."""
