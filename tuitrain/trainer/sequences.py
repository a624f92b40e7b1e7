"""What the trainer asks of a loader, of text or of examples: any global batch by the number of its first sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tuitrain.data import Batch


class Sequences(Protocol):
    """Endless training sequences, numbered; and the held-out ones."""

    seq_len: int
    rows_per_sequence: int
    """2 where a sequence is a pair of answers."""

    @property
    def sequences_per_epoch(self) -> float:
        """Sequences of one pass over the training data."""

    def batch(self, first_sequence: int, count: int) -> Batch:
        """Sequences [first_sequence, first_sequence + count)."""

    def epoch_of(self, sequence: int) -> float:
        """Passes over the training data when `sequence` sequences are done."""

    def validation_batches(self, batch: int, max_tokens: int | None = None) -> Iterator[Batch]:
        """Held-out batches of up to `batch` sequences; everything is counted once."""
