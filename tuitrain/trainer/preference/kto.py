"""Kahneman-Tversky optimisation: from single answers, each liked or not; no pairs.

    loss = w_y (1 - s(b (g - z0)))   of a liked answer,      g = log p - log r
    loss = w_n (1 - s(b (z0 - g)))   of a disliked one

Ethayarajh et al. 2024, arXiv:2402.01306, section 4 (L_KTO); letters as in `dpo`, g an answer's gain over the reference. z0 is
how far the model has left the reference anyway, an estimate of the divergence KL(p | r): the mean gain of answers that do not
belong to their prompts, prompt i with the answer of i + 1 of the micro-batch, at least 0, without gradient. w_y and w_n make
up for unequal numbers: the paper advises (w_y times liked) / (w_n times disliked) from 1 to 4/3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tuitrain.trainer.preference.results import JudgedLoss, wide


def kto_loss(
    policy: Tensor,
    reference: Tensor,
    liked: Tensor,
    baseline: Tensor,
    *,
    beta: float,
    liked_weight: float = 1.0,
    disliked_weight: float = 1.0,
) -> JudgedLoss:
    """Losses and rewards of answers, from log-probabilities summed per answer; `baseline` is z0, in nats."""
    baseline = beta * wide(baseline.detach())
    rewards = beta * (wide(policy) - wide(reference))
    # 1 - s(x) is s(-x), which keeps its digits where the first rounds to 0.
    away = torch.where(liked, baseline - rewards, rewards - baseline)
    weights = torch.where(liked, liked_weight, disliked_weight).to(rewards.dtype)
    return JudgedLoss(losses=weights * torch.sigmoid(away), rewards=rewards.detach(), liked=liked, baseline=baseline)


def mismatched_order(answers: int, *, device: torch.device | None = None) -> Tensor:
    """Whose answer prompt i is shown to estimate z0: that of i + 1, the last that of the first.

    Empty for a lone answer, which has none but its own. Neighbours must have different prompts: two answers to one prompt
    are no mismatch, and would put their own reward into the baseline.
    """
    order = torch.arange(answers, device=device)
    return order.roll(-1) if answers > 1 else order[:0]


@torch.no_grad()
def kl_sums(policy: Tensor, reference: Tensor) -> Tensor:
    """[sum of the gains, their number] of mismatched answers: what may be added up over processes before `kl_baseline`."""
    gains = wide(policy) - wide(reference)
    return torch.stack([gains.sum(), gains.new_tensor(float(gains.numel()))])


def kl_baseline(sums: Tensor) -> Tensor:
    """z0, one number: their mean, at least 0 as a divergence is; 0 where there was nothing to estimate it from."""
    return (sums[0] / sums[1].clamp(min=1)).clamp(min=0)
