"""torch's scaled_dot_product_attention. Without documents it takes the causal fast path; on CPU that is torch's own flash
kernel.

`enable_gqa` costs nothing on CPU, and a mask costs 1.7x against `is_causal` there, so the mask is made only for documents.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tuitrain_kernels.attention.naive import visible_mask


def sdpa_attention(q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor, document_ids_BT: Tensor | None = None) -> Tensor:
    """Whichever of flash, memory-efficient, cuDNN or math torch picks; never all scores except under math."""
    mask = None if document_ids_BT is None else visible_mask(document_ids_BT, q_BTNH.shape[1], q_BTNH.device)
    out_BNTH = F.scaled_dot_product_attention(
        q_BTNH.transpose(1, 2),
        k_BTKH.transpose(1, 2),
        v_BTKH.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=q_BTNH.shape[2] != k_BTKH.shape[2],
    )
    return out_BNTH.transpose(1, 2)
