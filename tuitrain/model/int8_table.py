"""A frozen embedding in 8 bits, one scale per row, and the head that is its transpose.

bitsandbytes quantises the matrices of the layers alone. That leaves much: SmolLM2-135M's embedding is a fifth of the model, and
half of its bytes once the rest is in 4 bits; Llama-3-8B's embedding and head are 2 GiB. A row's scale is its largest
magnitude / 127, so an entry is off by at most 1/254 of that. The table comes back whole where logits are computed, and row by
row where tokens are looked up.
"""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS: Final = 127
ROWS_AT_ONCE: Final = 8192
"""Rows turned back at a time: what stands in 32 bits beside the result."""


class Int8Table(nn.Module):
    """A frozen matrix [V, D] as int8 codes and fp32 scales [V, 1]."""

    scales: Tensor

    def __init__(self, weight_VD: Tensor) -> None:
        super().__init__()
        codes_VD, scale_V1 = quantise_rows(weight_VD)
        self.dtype = weight_VD.dtype
        self.codes_VD = nn.Parameter(codes_VD, requires_grad=False)
        self.register_buffer("scales", scale_V1, persistent=False)

    @property
    def weight(self) -> Tensor:
        """The whole matrix, made anew at each call, in the type it came in."""
        return dequantise_rows(self.codes_VD, self.scales, self.dtype)

    def rows(self, tokens: Tensor) -> Tensor:
        """[*tokens, D]."""
        return (self.codes_VD[tokens].float() * self.scales[tokens]).to(self.dtype)


class Int8Embedding(nn.Module):
    """In the place of an nn.Embedding. Gemma's multiplies what it looks up."""

    embed_scale: Tensor | None

    def __init__(self, table: Int8Table, embed_scale: Tensor | None) -> None:
        super().__init__()
        self.table = table
        self.num_embeddings, self.embedding_dim = table.codes_VD.shape
        self.register_buffer("embed_scale", embed_scale, persistent=False)

    @property
    def weight(self) -> Tensor:
        """The whole matrix."""
        return self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """[*tokens, D]."""
        rows = self.table.rows(tokens)
        return rows if self.embed_scale is None else rows * self.embed_scale.to(rows.dtype)


class Int8Head(nn.Module):
    """In the place of a head without bias."""

    bias: None = None

    def __init__(self, table: Int8Table) -> None:
        super().__init__()
        self.table = table
        self.out_features, self.in_features = table.codes_VD.shape

    @property
    def weight(self) -> Tensor:
        """The whole matrix."""
        return self.table.weight

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits."""
        return F.linear(hidden, self.weight)


def quantise_tables(lm: Any) -> bool:
    """Put embedding and head of a transformers model into 8 bits, in place. False where its embedding or tied head does more
    than look up or multiply: it stays as it is."""
    embedding, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    plain_head = _is_plain_head(head)
    tied = head is not None and head.weight is embedding.weight
    if not _is_plain_embedding(embedding) or (tied and not plain_head):
        return False
    with torch.no_grad():
        table = Int8Table(embedding.weight)
        if plain_head:
            lm.set_output_embeddings(Int8Head(table if tied else Int8Table(head.weight)))
        lm.set_input_embeddings(Int8Embedding(table, getattr(embedding, "embed_scale", None)))
    return True


@torch.no_grad()
def round_tables(lm: Any) -> None:
    """Leave embedding and head as they are kept, with the values 8 bits would give them: what an adapter that was trained
    beside them is merged into."""
    embedding, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    tied = head is not None and head.weight is embedding.weight
    weights = [embedding.weight] if tied or not _is_plain_head(head) else [embedding.weight, head.weight]
    for weight in weights:
        weight.copy_(dequantise_rows(*quantise_rows(weight), weight.dtype))


def quantise_rows(weight_VD: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes [V, D] and fp32 scales [V, 1]; a row of zeros has scale 0."""
    codes_VD = torch.empty(weight_VD.shape, dtype=torch.int8, device=weight_VD.device)
    scale_V1 = weight_VD.abs().amax(dim=1, keepdim=True).float() / LEVELS
    for start in range(0, len(weight_VD), ROWS_AT_ONCE):
        piece = slice(start, start + ROWS_AT_ONCE)
        codes_VD[piece] = (weight_VD[piece].float() / scale_V1[piece].clamp(min=torch.finfo(torch.float32).tiny)).round()
    return codes_VD, scale_V1


def dequantise_rows(codes_VD: Tensor, scale_V1: Tensor, dtype: torch.dtype) -> Tensor:
    """[V, D]."""
    weight_VD = torch.empty(codes_VD.shape, dtype=dtype, device=codes_VD.device)
    for start in range(0, len(codes_VD), ROWS_AT_ONCE):
        piece = slice(start, start + ROWS_AT_ONCE)
        weight_VD[piece] = codes_VD[piece].float() * scale_V1[piece]
    return weight_VD


def _is_plain_embedding(module: Any) -> bool:
    return isinstance(module, nn.Embedding) and (type(module) is nn.Embedding or hasattr(module, "embed_scale"))


def _is_plain_head(module: Any) -> bool:
    return type(module) is nn.Linear and module.bias is None
