"""What is trained: a decoder with its loss head, as one module from tokens to a sum of losses."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tuitrain.model.decoder import Decoder
from tuitrain.model.int8_table import Int8Head
from tuitrain.model.pretrained import Pretrained
from tuitrain_kernels import IGNORE, linear_cross_entropy, plain_linear_cross_entropy


def is_plain_product(head: Any) -> bool:
    """Whether a head is its weight alone: no bias (phi has one), no adapter. Only such heads are computed in chunks."""
    return isinstance(head, (nn.Linear, Int8Head)) and getattr(head, "bias", None) is None


class LossHead(nn.Module):
    """The head's product and the loss over it. One module, so that whoever shards weights can gather the head's around it."""

    lm_head: Any

    def __init__(self, lm_head: nn.Module, softcap: float | None) -> None:
        super().__init__()
        self.lm_head, self.softcap = lm_head, softcap

    def forward(self, hidden_RD: Tensor, targets_R: Tensor, kind: str, *, compiled: bool) -> Tensor:
        """The loss summed over rows with a target."""
        if not is_plain_product(self.lm_head):
            valid_R = targets_R != IGNORE
            logits_RV = self.lm_head(hidden_RD[valid_R]).float()
            if self.softcap is not None:
                logits_RV = self.softcap * torch.tanh(logits_RV / self.softcap)
            return F.cross_entropy(logits_RV, targets_R[valid_R], reduction="sum")
        if kind == "plain":
            return plain_linear_cross_entropy(hidden_RD, self.lm_head.weight, targets_R, self.softcap)
        return linear_cross_entropy(hidden_RD, self.lm_head.weight, targets_R, self.softcap, compiled=compiled)


class LanguageModelLoss(nn.Module):
    """Sum of next-token cross-entropies over valid targets, in fp32. Dividing by a count is the step's business: only it
    knows all.

    `head` is "chunked" or "plain"; both are the same function.
    """

    decoder: Any

    def __init__(self, decoder: Decoder | Pretrained, *, head: str) -> None:
        super().__init__()
        assert head in ("chunked", "plain"), head
        self.decoder, self.head, self.compiled = decoder, head, False
        self.loss_head = LossHead(decoder.lm_head, decoder.logit_softcap)

    def forward(
        self, tokens_BT: Tensor, targets_BT: Tensor, document_ids_BT: Tensor | None = None, positions_BT: Tensor | None = None
    ) -> Tensor:
        """The loss summed over the micro-batch."""
        learning = torch.is_grad_enabled()
        # Compiled layers judge with the graph they train with: compiling another for evaluation took seconds and saved none.
        with torch.set_grad_enabled(learning or self.compiled):
            hidden_RD = self.decoder.hidden(tokens_BT, document_ids_BT, positions_BT).flatten(0, 1)
        if not learning:
            hidden_RD = hidden_RD.detach()
        loss: Tensor = self.loss_head(hidden_RD, targets_BT.flatten(), self.head, compiled=self.compiled and learning)
        return loss
