"""Odds-ratio preference optimisation: the usual loss on the better answer, and odds against the worse. No reference.

    loss = -log P_w - l log s(log odds P_w - log odds P_l),   log P = log p / n,   odds P = P / (1 - P)

Hong, Lee, Thorne 2024, arXiv:2403.07691, equations 3 to 7; letters as in `dpo`. P is the geometric mean of an answer's token
probabilities, -log P_w the mean over its tokens of the usual loss, l (lambda) the weight of the odds.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from tuitrain.trainer.preference.results import PairLoss, per_token

CERTAIN: Final = -(2.0**-23)
"""log P of an answer as good as certain: beyond it 1 - P is lost in fp32, and its odds are taken to rise no further. An
answer of which nothing is left has log P = 0, and gets no gradient this way."""


def orpo_loss(chosen: Tensor, rejected: Tensor, chosen_tokens: Tensor, rejected_tokens: Tensor, *, weight: float) -> PairLoss:
    """Losses and rewards of pairs, from log-probabilities summed per answer and the tokens that were summed."""
    chosen_mean, rejected_mean = per_token(chosen, chosen_tokens), per_token(rejected, rejected_tokens)
    losses = -chosen_mean - weight * F.logsigmoid(log_odds(chosen_mean) - log_odds(rejected_mean))
    return PairLoss(
        losses=losses, chosen_rewards=weight * chosen_mean.detach(), rejected_rewards=weight * rejected_mean.detach()
    )


def log_odds(log_p: Tensor) -> Tensor:
    """log(P / (1 - P)) of log P <= 0.

    log(1 - P) is log(-expm1(log P)). Far below 0 that rounds to 0 where log1p(-P) would keep its digits (Maechler 2012,
    https://cran.r-project.org/package=Rmpfr, vignette log1mexp), but there log P is what counts; and choosing between the two
    by `where` makes a NaN gradient close to 0, the branch not taken being infinite there.
    """
    log_p = log_p.clamp(max=CERTAIN)
    return log_p - torch.log(-torch.expm1(log_p))
