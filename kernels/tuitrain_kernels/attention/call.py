"""The one call: a backend's name to its function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor

from tuitrain_kernels.attention.blocked import blocked_attention
from tuitrain_kernels.attention.flash import flash_attention
from tuitrain_kernels.attention.naive import naive_attention
from tuitrain_kernels.attention.sdpa import sdpa_attention

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]

BACKENDS: Final[dict[str, Attention]] = {
    "flash-attn": flash_attention,
    "blocked": blocked_attention,
    "sdpa": sdpa_attention,
    "naive": naive_attention,
}


def attention(q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor, *, backend: str, document_ids_BT: Tensor | None = None) -> Tensor:
    """Causal scaled-dot-product attention, scale H**-0.5, out_BTNH in the dtype of q."""
    return BACKENDS[backend](q_BTNH, k_BTKH, v_BTKH, document_ids_BT)
