"""Kernels a CUDA build would take, on fake CPU tensors: what they keep for backward differs from what the CPU's keep.

Fake tensors on "cuda" do not train in a build without CUDA (torch 2.13: the autograd engine ends the process), so a step for a
GPU is simulated on the CPU device with these two replacements:

    rms_norm    the fused kernel keeps its input and 1/rms; on the CPU it is composed of parts that each make a tensor
    attention   flash for 16 bits without a mask; else the memory-efficient kernel; grouped heads in 32 bits: all scores, as
                neither of the two takes them

torch/aten/src/ATen/native/transformers/cuda/sdp_utils.cpp decides on a GPU; these rules are a reading of it for the calls of
`tuitrain_kernels.attention.sdpa`, not a measurement on a device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

FLASH_MAX_HEAD_DIM: Final = 256
_FLASH: Final = torch.ops.aten._scaled_dot_product_flash_attention
_EFFICIENT: Final = torch.ops.aten._scaled_dot_product_efficient_attention


@contextmanager
def as_on_cuda() -> Iterator[None]:
    """Replace the two while inside. A torch function mode would not do: it is off while a checkpoint recomputes."""
    kept = F.rms_norm, F.scaled_dot_product_attention
    F.rms_norm, F.scaled_dot_product_attention = _rms_norm, _attention  # type: ignore[assignment]
    try:
        yield
    finally:
        F.rms_norm, F.scaled_dot_product_attention = kept


def _rms_norm(x: Tensor, size: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    result: Tensor = _FusedRMSNorm.apply(x, weight)  # type: ignore[no-untyped-call]
    return result


class _FusedRMSNorm(torch.autograd.Function):
    """The tensors of aten::_fused_rms_norm and its backward; their values are nobody's business on fake tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, x.new_empty((*x.shape[:-1], 1), dtype=torch.float32))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        x, weight, _ = ctx.saved_tensors
        return torch.empty_like(x), None if weight is None else torch.empty_like(weight)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    grouped = query.shape[1] != key.shape[1]
    if query.dtype is not torch.float32 and attn_mask is None and query.shape[-1] <= FLASH_MAX_HEAD_DIM:
        out: Tensor = _FLASH(query, key, value, dropout_p, is_causal, scale=scale)[0]
    elif grouped:
        out = torch._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]
    else:
        out = _EFFICIENT(query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale)[0]
    return out
