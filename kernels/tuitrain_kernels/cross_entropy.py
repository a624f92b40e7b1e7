"""Linear + cross-entropy whose logits are never whole.

A vocabulary of 49 152 makes the logits of 4 096 tokens 0.8 GiB in fp32, and eager PyTorch holds three of them at the start
of the backward pass. Here the head runs over chunks of rows, and loss and both gradients of a chunk are finished before the
next begins, so what lives is one chunk of logits and the two gradients. Rows without a target are dropped before the
product.

The loss is the SUM over valid rows in fp32; whoever calls divides by the global count. Equal to
`plain_linear_cross_entropy` in loss and gradient to rounding. No double backward (gradients are made in the forward pass).
Symbols: N rows, D width, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100
CHUNK_BYTES = 8 << 20
"""Bytes of one chunk of fp32 logits: what a core's share of last-level cache holds, where every pass over it is cheap."""


def plain_linear_cross_entropy(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, softcap: float | None = None) -> Tensor:
    """The slow twin: all logits at once. Returns the fp32 sum of the losses of rows whose target is not IGNORE."""
    logits_NV = F.linear(hidden_ND, weight_VD.to(hidden_ND.dtype)).float()
    if softcap is not None:
        logits_NV = softcap * torch.tanh(logits_NV / softcap)
    return F.cross_entropy(logits_NV, targets_N, ignore_index=IGNORE, reduction="sum")


def linear_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    softcap: float | None = None,
    *,
    chunk_rows: int | None = None,
    compiled: bool = False,
) -> Tensor:
    """Sum of the cross-entropy of softcap(hidden @ weight.T) against targets, in fp32, chunk by chunk.

    `weight_VD` may be fp32 under 16-bit `hidden_ND`: it is cast once per call and its gradient is summed in fp32.
    `compiled` runs the chunk through torch.compile, which fuses its passes over the logits.
    """
    if not torch.is_grad_enabled():  # needs_input_grad does not know of no_grad: an evaluation would make both gradients
        hidden_ND, weight_VD = hidden_ND.detach(), weight_VD.detach()
    valid = targets_N != IGNORE
    if not bool(valid.all()):
        rows = valid.nonzero().squeeze(1)
        hidden_ND, targets_N = hidden_ND.index_select(0, rows), targets_N.index_select(0, rows)
    chunk_rows = chunk_rows or rows_per_chunk(weight_VD.shape[0])
    result: Tensor = _LinearCrossEntropy.apply(hidden_ND, weight_VD, targets_N, softcap, chunk_rows, compiled)  # type: ignore[no-untyped-call]
    return result


def rows_per_chunk(vocab: int) -> int:
    """Rows whose fp32 logits fill a chunk; at least 64, below which the product is slow."""
    return max(64, CHUNK_BYTES // (4 * vocab))


class _LinearCrossEntropy(torch.autograd.Function):
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
        need_hidden, need_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        weight = weight_VD.to(hidden_ND.dtype)
        loss = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        grad_hidden = torch.empty_like(hidden_ND) if need_hidden else None
        grad_weight = torch.zeros(weight_VD.shape, dtype=torch.float32, device=weight_VD.device) if need_weight else None
        with_grad = need_hidden or need_weight
        chunk = compiled_chunk_loss() if compiled else chunk_loss
        for start in range(0, hidden_ND.shape[0], chunk_rows):
            rows = slice(start, start + chunk_rows)
            hidden_nD, targets_n = hidden_ND[rows], targets_N[rows]
            loss_n, grad_logits_nV = chunk(F.linear(hidden_nD, weight), targets_n, softcap, with_grad)
            loss += loss_n.sum()
            if grad_hidden is not None:
                torch.mm(grad_logits_nV, weight, out=grad_hidden[rows])
            if grad_weight is not None:
                add_outer(grad_weight, grad_logits_nV, hidden_nD)
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight_VD.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        if grad_hidden is not None:
            grad_hidden = grad_hidden.mul_(grad_loss.to(grad_hidden.dtype))
        if grad_weight is not None:
            grad_weight = grad_weight.mul_(grad_loss).to(ctx.weight_dtype)
        return grad_hidden, grad_weight, None, None, None, None


def add_outer(total_VD: Tensor, grad_nV: Tensor, hidden_nD: Tensor) -> None:
    """total += grad.T @ hidden, the sum in the precision of `total`."""
    if grad_nV.dtype == total_VD.dtype:
        total_VD.addmm_(grad_nV.t(), hidden_nD)
    else:
        total_VD += grad_nV.t() @ hidden_nD


def chunk_loss(logits_nV: Tensor, targets_n: Tensor, softcap: float | None, with_grad: bool) -> tuple[Tensor, Tensor]:
    """Loss of each row and, when asked, the gradient of their sum by the logits (in the logits' dtype)."""
    capped_nV = logits_nV.float()
    if softcap is not None:
        capped_nV = softcap * torch.tanh(capped_nV / softcap)
    log_sum_n1 = torch.logsumexp(capped_nV, dim=-1, keepdim=True)
    at_target_n1 = capped_nV.gather(1, targets_n[:, None])
    loss_n = (log_sum_n1 - at_target_n1).squeeze(1)
    if not with_grad:
        return loss_n, loss_n
    grad_nV = torch.exp(capped_nV - log_sum_n1)
    classes_V = torch.arange(logits_nV.shape[1], device=logits_nV.device)
    grad_nV = torch.where(classes_V == targets_n[:, None], grad_nV - 1.0, grad_nV)
    if softcap is not None:
        grad_nV = grad_nV * (1.0 - (capped_nV / softcap).square())
    return loss_n, grad_nV.to(logits_nV.dtype)


@functools.cache
def compiled_chunk_loss() -> Callable[[Tensor, Tensor, float | None, bool], tuple[Tensor, Tensor]]:
    return torch.compile(chunk_loss, dynamic=False)
