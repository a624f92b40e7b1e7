"""Simple preference optimisation: no reference; a token of the better answer should be likelier on average, by a margin.

    loss = -log s(b log p_w / n_w - b log p_l / n_l - g)

Meng, Xia, Chen 2024, arXiv:2405.14734, equation 6; letters as in `dpo`, n tokens of an answer. Dividing by n makes the reward
what generation ranks by, and takes away the profit in long answers. g (gamma) is the margin, in units of the reward.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tuitrain.trainer.preference.results import PairLoss, per_token


def simpo_loss(
    chosen: Tensor, rejected: Tensor, chosen_tokens: Tensor, rejected_tokens: Tensor, *, beta: float, gamma: float
) -> PairLoss:
    """Losses and rewards of pairs, from log-probabilities summed per answer and the tokens that were summed."""
    chosen_rewards = beta * per_token(chosen, chosen_tokens)
    rejected_rewards = beta * per_token(rejected, rejected_tokens)
    losses = -F.logsigmoid(chosen_rewards - rejected_rewards - gamma)
    return PairLoss(losses=losses, chosen_rewards=chosen_rewards.detach(), rejected_rewards=rejected_rewards.detach())
