"""Batches for training. What sequence i holds is a function of the seed and i alone.

So the position in the data is one integer; going there costs nothing; a resumed run reads on exactly; and the number of
processes does not matter: each takes its rows of the same global batch (`rows` with every world-th number, or a slice).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.batch import Batch, Rows
from tuitrain.data.mixture import Mixture
from tuitrain.data.order import derive
from tuitrain.data.packing import Packing
from tuitrain.data.prepared import PreparedData
from tuitrain.data.validation import ValidationSet


class Loader:
    """Endless training sequences of `seq_len` tokens. Each source runs through its own epochs, in proportion to its weight."""

    rows_per_sequence = 1

    def __init__(
        self, prepared: PreparedData, seq_len: int, seed: int, shuffle: bool = True, isolate_documents: bool = False
    ) -> None:
        assert seq_len > 0, f"sequences of {seq_len} tokens"
        self.prepared, self.seq_len, self.seed = prepared, seq_len, seed
        self.shuffle, self.isolate_documents = shuffle, isolate_documents
        self.mixture = Mixture(prepared.weights)
        self._token_bytes = prepared.tokenizer.token_bytes()
        self._packings = [
            Packing(source.train, seq_len=seq_len, key=derive(seed, number), shuffle=shuffle)
            for number, source in enumerate(prepared.sources)
        ]

    @property
    def sequences_per_epoch(self) -> float:
        """As many as hold every training token once."""
        return self.prepared.train_tokens / self.seq_len

    def batch(self, first_sequence: int, count: int) -> Batch:
        """Sequences [first_sequence, first_sequence + count)."""
        return self.rows(np.arange(first_sequence, first_sequence + count, dtype=np.int64))

    def rows(self, sequences: NDArray[np.int64]) -> Batch:
        """The sequences of these numbers, in this order: rank r of a world takes `first + r, first + r + world, ...`."""
        eos_id = self.prepared.tokenizer.eos_id
        rows = Rows(len(sequences), self.seq_len, eos_id=eos_id, isolate_documents=self.isolate_documents)
        sources, windows = self.mixture.locate(sequences)
        for number, packing in enumerate(self._packings):
            chosen = np.flatnonzero(sources == number)
            starts, lengths = packing.spans(windows[chosen])
            for row, start, length in zip(chosen, starts, lengths, strict=True):
                packing.fill(rows, int(row), int(start), int(length))
        return rows.finish(self._token_bytes)

    def epochs_by_source(self, sequence: int) -> list[float]:
        """How many times each source has been gone through when `sequence` sequences are done."""
        counts = self.mixture.counts(sequence)
        return [count / packing.num_windows for count, packing in zip(counts, self._packings, strict=True)]

    def epoch_of(self, sequence: int) -> float:
        """Passes over the training data when `sequence` sequences are done: tokens drawn, over the tokens there are."""
        drawn = zip(self.epochs_by_source(sequence), self._packings, strict=True)
        return sum(epochs * packing.num_tokens for epochs, packing in drawn) / self.prepared.train_tokens

    def validation_set(self) -> ValidationSet:
        """The held-out tokens, cut and isolated as the training tokens are."""
        return ValidationSet(self.prepared, self.seq_len, isolate_documents=self.isolate_documents)

    def validation_batches(self, batch: int, max_tokens: int | None = None) -> Iterator[Batch]:
        """Held-out batches in file order; every token is counted once."""
        return self.validation_set().batches(batch, max_tokens)
