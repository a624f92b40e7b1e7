"""What a preference run shows: rewards, their margin, and how often the better answer wins. Sums and counts, never means.

Sums may be added over micro-batches and processes in any split and give the same figures; means may not (two micro-batches of
one liked answer and three). `averages` divides once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from tuitrain.trainer.preference.results import JudgedLoss, PairLoss

FIELDS: Final = ("chosen_reward_sum", "chosen", "rejected_reward_sum", "rejected", "right_sum", "decided")
"""What the numbers of a sum are, in order. kto: chosen are the liked answers, rejected the disliked."""


@torch.no_grad()
def pair_metrics(result: PairLoss) -> Tensor:
    """Sums over pairs, one number for each of FIELDS. Right: the chosen answer has the larger reward."""
    chosen, rejected = result.chosen_rewards, result.rejected_rewards
    pairs = chosen.new_tensor(float(chosen.numel()))
    return torch.stack([chosen.sum(), pairs, rejected.sum(), pairs, _right(chosen - rejected), pairs])


@torch.no_grad()
def judged_metrics(result: JudgedLoss) -> Tensor:
    """Sums over judged answers. Right: a liked one's reward is above the baseline, a disliked one's below."""
    liked = result.liked.to(result.rewards.dtype)
    above = result.rewards - result.baseline
    right = _right(torch.where(result.liked, above, -above))
    answers = liked.new_tensor(float(liked.numel()))
    likes = liked.sum()
    rewards_of_liked = torch.where(result.liked, result.rewards, 0.0).sum()
    rewards_of_disliked = torch.where(result.liked, 0.0, result.rewards).sum()
    return torch.stack([rewards_of_liked, likes, rewards_of_disliked, answers - likes, right, answers])


def averages(sums: Sequence[float]) -> dict[str, float]:
    """Means from sums over everything; what had nothing to average is left out.

    `reward_margin` is the mean reward of chosen answers less that of rejected ones: over pairs, the mean of their margins.
    """
    chosen_sum, chosen, rejected_sum, rejected, right_sum, decided = sums
    found: dict[str, float] = {}
    if chosen:
        found["reward_chosen"] = chosen_sum / chosen
    if rejected:
        found["reward_rejected"] = rejected_sum / rejected
    if chosen and rejected:
        found["reward_margin"] = found["reward_chosen"] - found["reward_rejected"]
    if decided:
        found["accuracy"] = right_sum / decided
    return found


def _right(ahead: Tensor) -> Tensor:
    """How many are ahead; a tie counts half: a model that is still its own reference guesses, it is not always wrong."""
    return (0.5 * (1 + ahead.sign())).sum()
