"""Linear + log-probability of each row's target, whose logits are never whole: what preference losses are made of.

The twin of `cross_entropy`, for losses that weigh rows differently: DPO and its relatives multiply every token's gradient by
a number known only once the whole sequence, and its reference, have been seen. Two ways, chosen by what needs a gradient:

frozen head   (LoRA, QLoRA) the gradient of each row's hidden state is finished in the forward pass, [N, D] of it, and only
              scaled in the backward pass: one product with the head's weights fewer, and no logits twice.
trained head  the weights' gradient mixes rows, so it cannot be scaled afterwards: the backward pass makes each chunk's
              logits again, which costs one product more and keeps nothing but the inputs.

A row's factor is applied to its hidden state and its gradient, both of width D, never to the logits, of width V.
Equal to `plain_linear_log_probs` in values and gradients to rounding. No double backward.
Symbols: N rows, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tuitrain_kernels.cross_entropy import IGNORE, add_outer, chunk_loss, compiled_chunk_loss, rows_per_chunk


def plain_linear_log_probs(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, softcap: float | None = None) -> Tensor:
    """The slow twin: all logits at once. The fp32 log-probability of each row's target, 0 where that is IGNORE."""
    logits_NV = F.linear(hidden_ND, weight_VD.to(hidden_ND.dtype)).float()
    if softcap is not None:
        logits_NV = softcap * torch.tanh(logits_NV / softcap)
    return -F.cross_entropy(logits_NV, targets_N, ignore_index=IGNORE, reduction="none")


def linear_log_probs(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    softcap: float | None = None,
    *,
    chunk_rows: int | None = None,
    compiled: bool = False,
) -> Tensor:
    """log softmax(softcap(hidden @ weight.T)) at each row's target, in fp32, chunk by chunk; 0 where the target is IGNORE.

    Rows that are IGNORE are dropped before the product: a prompt costs nothing here. `weight_VD` may be fp32 under 16-bit
    `hidden_ND`: it is cast once per pass and its gradient is summed in fp32. `compiled` runs the chunk through torch.compile.
    """
    if not torch.is_grad_enabled():  # needs_input_grad does not know of no_grad: a reference pass would make gradients
        hidden_ND, weight_VD = hidden_ND.detach(), weight_VD.detach()
    chunk_rows = chunk_rows or rows_per_chunk(weight_VD.shape[0])
    arguments = (weight_VD, softcap, chunk_rows, compiled)
    valid_N = targets_N != IGNORE
    if bool(valid_N.all()):
        return _log_probs(hidden_ND, targets_N, *arguments)
    rows = valid_N.nonzero().squeeze(1)
    log_probs_n = _log_probs(hidden_ND.index_select(0, rows), targets_N.index_select(0, rows), *arguments)
    return log_probs_n.new_zeros(targets_N.shape).index_copy(0, rows, log_probs_n)


def _log_probs(
    hidden_ND: Tensor, targets_N: Tensor, weight_VD: Tensor, softcap: float | None, chunk_rows: int, compiled: bool
) -> Tensor:
    result: Tensor = _LinearLogProbs.apply(hidden_ND, weight_VD, targets_N, softcap, chunk_rows, compiled)  # type: ignore[no-untyped-call]
    return result


class _LinearLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        softcap: float | None,
        chunk_rows: int,
        compiled: bool,
    ) -> Tensor:
        need_hidden, ctx.recompute = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        finish = need_hidden and not ctx.recompute
        chunk = compiled_chunk_loss() if compiled else chunk_loss
        weight = weight_VD.to(hidden_ND.dtype)
        log_probs_N = torch.empty(hidden_ND.shape[0], dtype=torch.float32, device=hidden_ND.device)
        grad_hidden_ND = torch.empty_like(hidden_ND) if finish else None
        for start in range(0, hidden_ND.shape[0], chunk_rows):
            rows = slice(start, start + chunk_rows)
            loss_n, grad_logits_nV = chunk(F.linear(hidden_ND[rows], weight), targets_N[rows], softcap, finish)
            torch.neg(loss_n, out=log_probs_N[rows])
            if grad_hidden_ND is not None:
                torch.mm(grad_logits_nV, weight, out=grad_hidden_ND[rows])
        if ctx.recompute:
            # The weight itself and not its cast: a sharded one is freed after the forward pass and gathered into the same
            # tensor again before the backward pass, which a copy would not be.
            ctx.save_for_backward(hidden_ND, weight_VD, targets_N)
            ctx.settings = softcap, chunk_rows, chunk
        else:
            ctx.save_for_backward(grad_hidden_ND)
        return log_probs_N

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.recompute:
            grad_hidden_ND, grad_weight_VD = _recomputed(ctx, grad_N)
            return grad_hidden_ND, grad_weight_VD, None, None, None, None
        (of_loss_ND,) = ctx.saved_tensors
        # In fp32 although both sides may be 16-bit: rounding a row's factor would bend the whole row one way.
        return torch.mul(of_loss_ND, -grad_N[:, None], out=torch.empty_like(of_loss_ND)), None, None, None, None, None


def _recomputed(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, Tensor]:
    hidden_ND, weight_VD, targets_N = ctx.saved_tensors
    softcap, chunk_rows, chunk = ctx.settings
    weight = weight_VD.to(hidden_ND.dtype)
    grad_hidden_ND = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
    grad_weight_VD = torch.zeros(weight_VD.shape, dtype=torch.float32, device=weight_VD.device)
    for start in range(0, hidden_ND.shape[0], chunk_rows):
        rows = slice(start, start + chunk_rows)
        hidden_nD, factor_n1 = hidden_ND[rows], -grad_N[rows, None]
        _, grad_logits_nV = chunk(F.linear(hidden_nD, weight), targets_N[rows], softcap, True)
        if grad_hidden_ND is not None:
            torch.mul(grad_logits_nV @ weight, factor_n1, out=grad_hidden_ND[rows])
        add_outer(grad_weight_VD, grad_logits_nV, (hidden_nD * factor_n1).to(hidden_nD.dtype))
    return grad_hidden_ND, grad_weight_VD.to(weight_VD.dtype)
