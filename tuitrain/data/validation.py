"""Batches to judge a model on: the held-out tokens in file order, every token predicted exactly once.

As in training, a source's tokens are one stream and a window's inputs stand one place before its targets; the first token of
all is predicted from an end-of-text token. A window never holds tokens of two sources. Where documents are isolated, the
first token of each document is no target. Average a loss over `num_targets` of all batches together, never over batches.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.batch import Batch, Rows
from tuitrain.data.packing import Packing
from tuitrain.data.prepared import PreparedData


class ValidationSet:
    """The held-out sequences, numbered from 0: a rank of several takes every world-th."""

    def __init__(self, prepared: PreparedData, seq_len: int, *, isolate_documents: bool = False) -> None:
        self.seq_len, self.isolate_documents = seq_len, isolate_documents
        self._eos_id, self._token_bytes = prepared.tokenizer.eos_id, prepared.tokenizer.token_bytes()
        self._packings = [Packing(source.validation, seq_len=seq_len, key=0, shuffle=False) for source in prepared.sources]

    def sequences(self, max_tokens: int | None = None) -> NDArray[np.int64]:
        """Numbers of the sequences to read. With a limit: evenly spread over every source, at least one of each."""
        total = sum(packing.num_tokens for packing in self._packings)
        share = 1.0 if max_tokens is None else min(1.0, max_tokens / total)
        chosen, first = [], 0
        for packing in self._packings:
            count = max(1, int(packing.num_windows * share))
            chosen.append(first + np.arange(count, dtype=np.int64) * packing.num_windows // count)
            first += packing.num_windows
        return np.concatenate(chosen)

    def rows(self, sequences: NDArray[np.int64], count: int | None = None) -> Batch:
        """The sequences of these numbers, in this order; rows of padding up to `count`."""
        rows = Rows(count or len(sequences), self.seq_len, eos_id=self._eos_id, isolate_documents=self.isolate_documents)
        first = 0
        for packing in self._packings:
            chosen = np.flatnonzero((sequences >= first) & (sequences < first + packing.num_windows))
            starts, lengths = packing.spans(sequences[chosen] - first)
            for row, start, length in zip(chosen, starts, lengths, strict=True):
                packing.fill(rows, int(row), int(start), int(length))
            first += packing.num_windows
        return rows.finish(self._token_bytes)

    def batches(self, batch: int, max_tokens: int | None = None) -> Iterator[Batch]:
        """Batches of `batch` sequences in file order; all of one shape, so that a compiled model compiles once."""
        sequences = self.sequences(max_tokens)
        for start in range(0, len(sequences), batch):
            yield self.rows(sequences[start : start + batch], batch if len(sequences) > batch else None)


def validation_batches(
    prepared: PreparedData, seq_len: int, batch: int, max_tokens: int | None = None, *, isolate_documents: bool = False
) -> Iterator[Batch]:
    """Batches of held-out sequences."""
    return ValidationSet(prepared, seq_len, isolate_documents=isolate_documents).batches(batch, max_tokens)
