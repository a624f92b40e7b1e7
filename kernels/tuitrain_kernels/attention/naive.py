"""Attention as it is written down: the reference every other backend is tested against. Holds all T x T scores."""

from __future__ import annotations

import torch
from torch import Tensor


def visible_mask(document_ids_BT: Tensor | None, tokens: int, device: torch.device) -> Tensor:
    """mask_B1TT (or mask_TT without documents): True where a query (row) may see a key (column)."""
    causal_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()
    if document_ids_BT is None:
        return causal_TT
    same_BTT = document_ids_BT[:, :, None] == document_ids_BT[:, None, :]
    return (same_BTT & causal_TT)[:, None]


def naive_attention(q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor, document_ids_BT: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(H)) v with the scores in fp32."""
    group = q_BTNH.shape[2] // k_BTKH.shape[2]
    q_BNTH = q_BTNH.transpose(1, 2)
    k_BNTH = k_BTKH.transpose(1, 2).repeat_interleave(group, dim=1)
    v_BNTH = v_BTKH.transpose(1, 2).repeat_interleave(group, dim=1)
    scores_BNTT = (q_BNTH @ k_BNTH.mT).float() * q_BTNH.shape[3] ** -0.5
    mask = visible_mask(document_ids_BT, q_BTNH.shape[1], q_BTNH.device)
    weights_BNTT = scores_BNTT.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    out_BTNH: Tensor = (weights_BNTT.to(v_BNTH.dtype) @ v_BNTH).transpose(1, 2)
    return out_BTNH
