"""What is trained: a decoder with its loss head, as one module from tokens to a sum of losses."""

from __future__ import annotations

from torch import Tensor, nn

from tuitrain.model.decoder import Decoder
from tuitrain_kernels import linear_cross_entropy, plain_linear_cross_entropy


class LanguageModelLoss(nn.Module):
    """Sum of next-token cross-entropies over valid targets, in fp32. Dividing by a count is the step's business: only it
    knows all.

    `head` is "chunked" or "plain"; both are the same function.
    """

    def __init__(self, decoder: Decoder, *, head: str) -> None:
        super().__init__()
        assert head in ("chunked", "plain"), head
        self.decoder, self.head, self.compiled = decoder, head, False

    def forward(
        self, tokens_BT: Tensor, targets_BT: Tensor, document_ids_BT: Tensor | None = None, positions_BT: Tensor | None = None
    ) -> Tensor:
        """The loss summed over the micro-batch."""
        hidden_RD = self.decoder.hidden(tokens_BT, document_ids_BT, positions_BT).flatten(0, 1)
        weight, targets_R, cap = self.decoder.lm_head.weight, targets_BT.flatten(), self.decoder.shape.logit_softcap
        if self.head == "plain":
            return plain_linear_cross_entropy(hidden_RD, weight, targets_R, cap)
        return linear_cross_entropy(hidden_RD, weight, targets_R, cap, compiled=self.compiled)
