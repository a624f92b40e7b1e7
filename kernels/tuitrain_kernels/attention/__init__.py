"""Causal attention through one call, whatever computes it.

    out_BTNH = attention(q_BTNH, k_BTKH, v_BTKH, backend="sdpa", document_ids_BT=None)

Symbols: B batch, T tokens, N query heads, K key/value heads (grouped-query attention: K divides N), H head width. Layout is
time before heads, as the projections produce it. With `document_ids_BT` a token sees only earlier tokens of its own document.
"""

from tuitrain_kernels.attention.call import BACKENDS, attention
from tuitrain_kernels.attention.choose import choose_attention
from tuitrain_kernels.attention.naive import naive_attention

__all__ = ["BACKENDS", "attention", "choose_attention", "naive_attention"]
