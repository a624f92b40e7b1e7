"""Identity preference optimisation: the gain over the reference should differ by a set amount, and by no more.

    loss = (h - 1 / (2 b))^2,   h = (log p_w - log r_w) / n_w - (log p_l - log r_l) / n_l

Azar et al. 2023, arXiv:2310.12036, equation 17; b (beta) is their tau, letters as in `dpo`. Where DPO pushes a pair apart
forever, this stops at 1 / (2 b).

The paper does not divide by the tokens n. Here they do where given: without, a long answer's h is larger than a short one's
for no reason of taste, and the square makes the longest pairs rule. TRL does the same, and its source reports the authors'
word that the paper's results come from this form. The amount is then nats per token: 5 at beta 0.1, which no answer reaches,
so that there the loss pushes about evenly and beta acts as little more than a scale.
"""

from __future__ import annotations

from torch import Tensor

from tuitrain.trainer.preference.results import PairLoss, per_token, wide


def ipo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    chosen_tokens: Tensor | None,
    rejected_tokens: Tensor | None,
    *,
    beta: float,
) -> PairLoss:
    """Losses and rewards of pairs, from log-probabilities summed per answer. Without tokens: equation 17 as printed."""
    chosen_gain = wide(chosen) - wide(reference_chosen)
    rejected_gain = wide(rejected) - wide(reference_rejected)
    if chosen_tokens is not None and rejected_tokens is not None:
        chosen_gain, rejected_gain = per_token(chosen_gain, chosen_tokens), per_token(rejected_gain, rejected_tokens)
    losses = (chosen_gain - rejected_gain - 1 / (2 * beta)).square()
    return PairLoss(losses=losses, chosen_rewards=beta * chosen_gain.detach(), rejected_rewards=beta * rejected_gain.detach())
