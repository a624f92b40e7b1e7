"""Direct preference optimisation: the better answer should gain on the reference more than the worse one.

    loss = -(1 - e) log s(z) - e log s(-z),   z = b ((log p_w - log r_w) - (log p_l - log r_l))

p the model, r the reference, w the better answer, l the worse, s the logistic function. b (beta): how much the model may
leave the reference, smaller means further. Rafailov et al. 2023, arXiv:2305.18290, equation 7. e (label smoothing): share of
pairs taken to be labelled the wrong way round; then z has a finite optimum, log((1 - e) / e). "Conservative DPO", Mitchell
2023, https://ericmitchell.ai/cdpo.pdf.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tuitrain.trainer.preference.results import PairLoss, wide


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> PairLoss:
    """Losses and rewards of pairs, from log-probabilities summed per answer."""
    chosen_rewards = beta * (wide(chosen) - wide(reference_chosen))
    rejected_rewards = beta * (wide(rejected) - wide(reference_rejected))
    margin = chosen_rewards - rejected_rewards
    losses = -F.logsigmoid(margin)
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * F.logsigmoid(-margin)
    return PairLoss(losses=losses, chosen_rewards=chosen_rewards.detach(), rejected_rewards=rejected_rewards.detach())
