"""Rotary positions in GGUF: keys for the base and for linear and YaRN scaling, tensors for the factors of Llama 3 and LongRoPE.

llama.cpp divides each frequency by its factor, so a factor of 1 leaves a dimension as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tuitrain.errors import CheckpointError

if TYPE_CHECKING:
    import gguf


def rotary_of(config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The rotary parameters of the full-attention layers, and how many dimensions of a head they turn."""
    rope = config["rope_parameters"]
    rope = rope.get("full_attention", rope)
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return rope, int(head_dim * (rope.get("partial_rotary_factor") or 1.0))


def add_rotary(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    """Write the keys of the rotary positions."""
    rope, dims = rotary_of(config)
    kind = rope.get("rope_type", "default")
    writer.add_rope_dimension_count(dims)
    writer.add_rope_freq_base(rope["rope_theta"])
    local = config["rope_parameters"].get("sliding_attention")
    if local is not None:
        if local.get("rope_type", "default") != "default":
            raise _not_computed("the rope_type of sliding layers", local["rope_type"], "'default'")
        writer.add_rope_freq_base_swa(local["rope_theta"])
    if kind == "longrope" and config["model_type"] == "phi3":
        writer.add_rope_scaling_attn_factors(_longrope_stretch(rope, config))
    elif kind in ("linear", "yarn"):
        _add_scaling(writer, kind, rope, config)
    elif kind not in ("default", "llama3"):
        raise _not_computed("rope_type", kind, "'default', 'linear', 'yarn' and 'llama3', and 'longrope' for phi3")
    if config["model_type"] == "phi3":
        writer.add_rope_scaling_orig_ctx_len(_original_context(rope, config))


def _add_scaling(writer: gguf.GGUFWriter, kind: str, rope: dict[str, Any], config: dict[str, Any]) -> None:
    import gguf

    writer.add_rope_scaling_factor(rope["factor"])
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        return
    if rope.get("attention_factor") is not None or rope.get("mscale") or rope.get("truncate") is False:
        raise _not_computed("rope_parameters", rope, "YaRN with its own attention factor and truncated range")
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_orig_ctx_len(_original_context(rope, config))
    writer.add_rope_scaling_yarn_beta_fast(rope.get("beta_fast") or 32.0)
    writer.add_rope_scaling_yarn_beta_slow(rope.get("beta_slow") or 1.0)


def rotary_tensors(config: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Names and values of the factors that travel as tensors."""
    if not config.get("rope_parameters"):
        return
    rope, dims = rotary_of(config)
    kind = rope.get("rope_type", "default")
    if kind == "llama3":
        yield "rope_freqs.weight", llama3_factors(rope, dims)
    elif kind == "longrope":
        yield "rope_factors_long.weight", torch.tensor(rope["long_factor"], dtype=torch.float32)
        yield "rope_factors_short.weight", torch.tensor(rope["short_factor"], dtype=torch.float32)


def llama3_factors(rope: dict[str, Any], dims: int) -> Tensor:
    """What Llama 3.1 divides each frequency by: 1 for short waves, `factor` for long ones, blended between.

    w = 2 pi / f; s = (L / w - low) / (high - low); factor(f) = 1 / ((1 - s) / factor + s), s clipped to 0..1.
    L: original context in tokens, low and high: how many turns within L. Source: transformers `modeling_rope_utils.py`,
    `_compute_llama3_parameters`.
    """
    frequencies = rope["rope_theta"] ** -(torch.arange(0, dims, 2, dtype=torch.float64) / dims)
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    blend = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    factors: Tensor = 1 / ((1 - blend) / factor + blend)
    return factors.float()


def _original_context(rope: dict[str, Any], config: dict[str, Any]) -> int:
    known = rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    return int(known or config["max_position_embeddings"])


def _longrope_stretch(rope: dict[str, Any], config: dict[str, Any]) -> float:
    """What LongRoPE multiplies queries and keys by: sqrt(1 + ln(context / original) / ln(original))."""
    if rope.get("attention_factor"):
        return float(rope["attention_factor"])
    original = _original_context(rope, config)
    stretched = config["max_position_embeddings"] / original
    return math.sqrt(1 + math.log(stretched) / math.log(original)) if stretched > 1 else 1.0


def _not_computed(key: str, value: object, computed: str) -> CheckpointError:
    return CheckpointError(
        f"config.json has {key} = {value!r}; of scaled rotary positions llama.cpp computes {computed}",
        "a GGUF file would hold the weights and compute something else",
    )
