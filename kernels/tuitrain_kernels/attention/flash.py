"""The flash-attn package (FlashAttention-2, Dao 2023, https://arxiv.org/abs/2307.08691): CUDA, 16-bit, Ampere or newer.

Documents become the package's variable-length form: the batch is one long row with a border list, so no mask is ever made.
Imported inside the functions: the package is an extra, and importing it takes a CUDA build of torch.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor


def flash_unavailable(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why flash-attn cannot run here, or None."""
    if device.type != "cuda":
        return f"needs a CUDA device, this is {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"needs 16-bit inputs, these are {dtype}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return f"needs compute capability 8.0, this device has {'.'.join(map(str, torch.cuda.get_device_capability(device)))}"
    if importlib.util.find_spec("flash_attn") is None:
        return "the package flash-attn is not installed (pip install 'tuitrain[flash]')"
    return None


def flash_attention(q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor, document_ids_BT: Tensor | None = None) -> Tensor:
    """flash_attn_func, or flash_attn_varlen_func with one border per document."""
    from flash_attn import flash_attn_func, flash_attn_varlen_func

    if document_ids_BT is None:
        out: Tensor = flash_attn_func(q_BTNH, k_BTKH, v_BTKH, causal=True)
        return out
    batch, tokens = document_ids_BT.shape
    borders, longest = document_borders(document_ids_BT)
    flat: Tensor = flash_attn_varlen_func(
        q_BTNH.flatten(0, 1), k_BTKH.flatten(0, 1), v_BTKH.flatten(0, 1),
        cu_seqlens_q=borders, cu_seqlens_k=borders, max_seqlen_q=longest, max_seqlen_k=longest, causal=True,
    )  # fmt: skip
    return flat.view(batch, tokens, *flat.shape[1:])


def document_borders(document_ids_BT: Tensor) -> tuple[Tensor, int]:
    """Cumulative lengths (int32, from 0 to B*T) of the runs of equal ids, rows never joined, and the longest run."""
    batch, tokens = document_ids_BT.shape
    starts_BT = torch.ones_like(document_ids_BT, dtype=torch.bool)
    starts_BT[:, 1:] = document_ids_BT[:, 1:] != document_ids_BT[:, :-1]
    starts = starts_BT.flatten().nonzero().squeeze(1)
    borders = torch.cat([starts, starts.new_tensor([batch * tokens])]).to(torch.int32)
    return borders, int(borders.diff().max())
