"""A batch of sequences, and the rows it is written into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORED = -100
"""Target where nothing is to be predicted; what torch's cross entropy ignores."""
PADDING_DOCUMENT = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Sequences to learn from, or to be judged on. Arrays are int64 [count, seq_len]."""

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    """The token after each; IGNORED where nothing is to be predicted."""
    document_ids: NDArray[np.int64] | None
    """Number of the document within its row, from 0, PADDING_DOCUMENT in padding; None unless documents are isolated."""
    position_ids: NDArray[np.int64] | None
    """Place within the document, counted from where the row or the document begins; None unless documents are isolated."""
    num_targets: int
    """Targets that are to be predicted."""
    num_bytes: int
    """UTF-8 bytes these targets stand for: what turns a loss into bits per byte."""
    lengths: NDArray[np.int64] | None = None
    """Tokens of each row before its padding, where rows are padded to different lengths; None: rows are full."""
    reference: NDArray[np.float32] | None = None
    """Log-probability of each row's answer under the reference model (preference tuning)."""
    liked: NDArray[np.int64] | None = None
    """1 where a row's answer was liked, 0 where disliked, -1 where it is one of a pair."""


class Rows:
    """Sequences being written; what is not written stays padding."""

    def __init__(self, count: int, seq_len: int, *, eos_id: int, isolate_documents: bool) -> None:
        shape = (count, seq_len)
        self.tokens = np.full(shape, eos_id, np.int64)
        self.targets = np.full(shape, IGNORED, np.int64)
        self.document_ids = np.full(shape, PADDING_DOCUMENT, np.int64) if isolate_documents else None
        self.position_ids = np.zeros(shape, np.int64) if isolate_documents else None

    def finish(self, token_bytes: NDArray[np.int32]) -> Batch:
        """The batch, counted."""
        valid = self.targets[self.targets != IGNORED]
        return Batch(
            tokens=self.tokens, targets=self.targets, document_ids=self.document_ids, position_ids=self.position_ids,
            num_targets=len(valid), num_bytes=int(token_bytes[valid].sum(dtype=np.int64)),
        )  # fmt: skip
