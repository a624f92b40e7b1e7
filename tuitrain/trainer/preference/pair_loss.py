"""The losses of pairs under one call, by name."""

from __future__ import annotations

from torch import Tensor

from tuitrain.trainer.preference.dpo import dpo_loss
from tuitrain.trainer.preference.ipo import ipo_loss
from tuitrain.trainer.preference.orpo import orpo_loss
from tuitrain.trainer.preference.results import PairLoss, PairSums
from tuitrain.trainer.preference.simpo import simpo_loss


def pair_loss(name: str, sums: PairSums, *, beta: float, gamma: float = 0.0, label_smoothing: float = 0.0) -> PairLoss:
    """Losses and rewards of pairs. `beta` is the weight of the odds under orpo; what a loss has no use for is ignored."""
    answers = sums.chosen, sums.rejected
    match name:
        case "dpo":
            return dpo_loss(*answers, *_reference(sums), beta=beta, label_smoothing=label_smoothing)
        case "ipo":
            return ipo_loss(*answers, *_reference(sums), *_tokens(sums), beta=beta)
        case "simpo":
            return simpo_loss(*answers, *_tokens(sums), beta=beta, gamma=gamma)
        case "orpo":
            return orpo_loss(*answers, *_tokens(sums), weight=beta)
    raise AssertionError(f"{name!r} is no loss of pairs")


def _reference(sums: PairSums) -> tuple[Tensor, Tensor]:
    assert sums.reference_chosen is not None, "needs the reference's log-probabilities"
    assert sums.reference_rejected is not None, "needs the reference's log-probabilities"
    return sums.reference_chosen, sums.reference_rejected


def _tokens(sums: PairSums) -> tuple[Tensor, Tensor]:
    assert sums.chosen_tokens is not None, "needs the tokens that were summed"
    assert sums.rejected_tokens is not None, "needs the tokens that were summed"
    return sums.chosen_tokens, sums.rejected_tokens
