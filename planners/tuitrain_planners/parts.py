"""Parts a decoder may have instead of the plain ones: experts, latent attention, sliding windows. Sizes only."""

from __future__ import annotations

from dataclasses import dataclass

from tuitrain_planners.errors import PlanError


@dataclass(frozen=True, kw_only=True, slots=True)
class Experts:
    """A mixture of experts in place of the feed-forward (Shazeer et al. 2017; Fedus et al. 2021)."""

    num: int
    """E: routed experts of a layer."""
    per_token: int
    """Routed experts that each token visits."""
    ffn_size: int
    """Inner width of one routed expert."""
    shared_ffn_size: int = 0
    """Inner width of the experts every token visits, taken together; 0: there are none."""
    shared_gate: bool = False
    """A vector of h that weighs the shared experts (Qwen2-MoE)."""
    first_dense_layers: int = 0
    """Layers at the start that keep a plain feed-forward of the shape's ffn_size (DeepSeek)."""
    router_bias: bool = False
    """One correction per expert beside the router's matrix (DeepSeek-V3)."""

    def __post_init__(self) -> None:
        for name in ("num", "per_token", "ffn_size"):
            if getattr(self, name) < 1:
                raise PlanError(f"experts: {name} is {getattr(self, name)}", "a whole number of at least 1")
        for name in ("shared_ffn_size", "first_dense_layers"):
            if getattr(self, name) < 0:
                raise PlanError(f"experts: {name} is {getattr(self, name)}", "zero or more")
        if self.per_token > self.num:
            raise PlanError(f"experts: {self.per_token} per token of {self.num}", "no token visits more experts than there are")


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentAttention:
    """Multi-head latent attention: keys and values come from one compressed vector (DeepSeek-V2, 2024, section 2.1)."""

    kv_rank: int
    """Width of the compressed keys and values."""
    q_rank: int | None
    """Width of the compressed queries; None: queries are not compressed."""
    nope_head_dim: int
    """Part of a query or key head that is not rotated."""
    rope_head_dim: int
    """Part that is; of keys all heads share one."""
    value_head_dim: int

    def __post_init__(self) -> None:
        for name in ("kv_rank", "q_rank", "nope_head_dim", "rope_head_dim", "value_head_dim"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise PlanError(f"latent attention: {name} is {value}", "a whole number of at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlidingWindow:
    """Layers whose attention looks back `size` tokens only (Beltagy et al. 2020)."""

    size: int
    num_layers: int
    """How many of the layers do; the others look at everything."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.num_layers < 1:
            raise PlanError(f"sliding window of {self.size} tokens in {self.num_layers} layers", "both are at least 1")
