"""What preference tuning trains: a model with a preference loss, as one module from rows of answers to a sum of losses.

Rows come in twos: 2 k is the better answer of pair k and 2 k + 1 the worse; under kto 2 k is a judged answer and 2 k + 1 an
answer that does not belong to its prompt. The reference's log-probabilities come with the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tuitrain.config.schema import PreferenceSection
from tuitrain.model.pretrained import Pretrained
from tuitrain.trainer.losses import is_plain_product
from tuitrain.trainer.preference import (
    FIELDS,
    METHODS,
    PairSums,
    judged_metrics,
    kl_baseline,
    kl_sums,
    kto_loss,
    pair_loss,
    pair_metrics,
)
from tuitrain_kernels import IGNORE, linear_log_probs


class PreferenceLoss(nn.Module):
    """Sum of preference losses over pairs, in fp32. `sums` gathers what is shown beside the loss until it is taken."""

    def __init__(
        self, model: Pretrained, section: PreferenceSection, *, total: Callable[[Tensor], Tensor] = lambda sums: sums
    ) -> None:
        super().__init__()
        assert section.beta != "auto", "resolve fills preference.beta in"
        assert section.gamma != "auto", "resolve fills preference.gamma in"
        self.decoder, self.section, self.beta, self.gamma = model, section, section.beta, section.gamma
        self.method = METHODS[section.loss]
        self.compiled = False
        self._total = total
        self.sums = torch.zeros(len(FIELDS), dtype=torch.float64)

    def forward(
        self,
        tokens_BT: Tensor,
        targets_BT: Tensor,
        document_ids_BT: Tensor | None = None,
        positions_BT: Tensor | None = None,
        reference_B: Tensor | None = None,
        liked_B: Tensor | None = None,
    ) -> Tensor:
        """The loss summed over the pairs, or the judged answers, of the micro-batch."""
        if self.method.paired:
            return self._pairs(tokens_BT, targets_BT, reference_B)
        assert reference_B is not None, "kto compares with a reference"
        assert liked_B is not None, "kto learns from judgements"
        return self._judged(tokens_BT, targets_BT, reference_B, liked_B[0::2] == 1)

    def take_sums(self) -> list[float]:
        """What was gathered since the last call, by preference.FIELDS."""
        taken: list[float] = self.sums.tolist()
        self.sums.zero_()
        return taken

    def log_probs(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """log p of each row's answer, summed over its tokens, fp32."""
        return answer_log_probs(self.decoder, tokens_BT, targets_BT)

    def _pairs(self, tokens_BT: Tensor, targets_BT: Tensor, reference_B: Tensor | None) -> Tensor:
        policy_B = self.log_probs(tokens_BT, targets_BT)
        counts_B = (targets_BT != IGNORE).sum(dim=1)
        result = pair_loss(
            self.method.name,
            PairSums(
                chosen=policy_B[0::2],
                rejected=policy_B[1::2],
                reference_chosen=None if reference_B is None else reference_B[0::2],
                reference_rejected=None if reference_B is None else reference_B[1::2],
                chosen_tokens=counts_B[0::2],
                rejected_tokens=counts_B[1::2],
            ),
            beta=self.beta,
            gamma=self.gamma,
            label_smoothing=self.section.label_smoothing,
        )
        self.sums += pair_metrics(result).double().cpu()
        return result.losses.sum()

    def _judged(self, tokens_BT: Tensor, targets_BT: Tensor, reference_B: Tensor, liked_P: Tensor) -> Tensor:
        learning = torch.is_grad_enabled()
        with torch.no_grad():
            strange_P = self.log_probs(tokens_BT[1::2], targets_BT[1::2])
            sums = kl_sums(strange_P, reference_B[1::2])
            # Processes run the same number of passes in a step; in an evaluation they may not, and a sum would wait for ever.
            baseline = kl_baseline(self._total(sums) if learning else sums)
        policy_P = self.log_probs(tokens_BT[0::2], targets_BT[0::2])
        result = kto_loss(
            policy_P,
            reference_B[0::2],
            liked_P,
            baseline,
            beta=self.beta,
            liked_weight=self.section.liked_weight,
            disliked_weight=self.section.disliked_weight,
        )
        self.sums += judged_metrics(result).double().cpu()
        return result.losses.sum()


def answer_log_probs(model: Pretrained, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """log p of each row's answer, summed over its tokens, fp32; logits never whole where the head is a plain product."""
    hidden_BTD = model.hidden(tokens_BT)
    head: Any = model.lm_head
    rows, width = targets_BT.shape
    if is_plain_product(head):
        each_R = linear_log_probs(hidden_BTD.flatten(0, 1), head.weight, targets_BT.flatten(), model.logit_softcap)
        return each_R.view(rows, width).sum(dim=1)
    logits_BTV = model.logits(hidden_BTD).log_softmax(dim=-1)
    valid_BT = targets_BT != IGNORE
    picked_BT = logits_BTV.gather(-1, targets_BT.clamp(min=0)[..., None]).squeeze(-1)
    return torch.where(valid_BT, picked_BT, 0.0).sum(dim=1)
