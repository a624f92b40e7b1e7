"""What goes into a preference loss and what comes out. One number per pair or answer; sums are over an answer's tokens.

"log-probability of an answer" is the sum over its tokens of log p(token | prompt, tokens before); the prompt's own tokens
never count. Everything is computed in fp32 or wider: two sums near -500 differ by what bf16 cannot tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PairSums:
    """Pairs of answers to one prompt each. What a loss does not need (see `METHODS`) may be None."""

    chosen: Tensor
    """Log-probability of the better answer under the model that learns."""
    rejected: Tensor
    """The same of the worse answer."""
    reference_chosen: Tensor | None = None
    """Log-probability of the better answer under the model it started as. No gradient."""
    reference_rejected: Tensor | None = None
    chosen_tokens: Tensor | None = None
    """Tokens that were summed: those of the answer that were not cut off."""
    rejected_tokens: Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairLoss:
    """The losses carry the gradient; the rewards are for the eye, and detached."""

    losses: Tensor
    """Per pair, fp32. Whoever sums divides by the pairs of the global batch."""
    chosen_rewards: Tensor
    """In the units the loss compares: it is content where the chosen one is enough above the rejected one."""
    rejected_rewards: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedLoss:
    """The losses of single answers, each liked or not."""

    losses: Tensor
    """Per answer, fp32, weights included. Whoever sums divides by the answers of the global batch."""
    rewards: Tensor
    liked: Tensor
    """bool."""
    baseline: Tensor
    """The reward an answer is compared with, one number."""


def wide(values: Tensor) -> Tensor:
    """At least fp32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def per_token(sums: Tensor, tokens: Tensor) -> Tensor:
    """Mean log-probability of a token. 0 for an answer of which nothing is left: without tokens its sum is 0 too."""
    return wide(sums) / tokens.clamp(min=1)
