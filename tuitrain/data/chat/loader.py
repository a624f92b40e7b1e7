"""Batches of examples. What sequence i holds is a function of the seed and i alone, as for text: `tuitrain.data.loader`.

An epoch shows every example once (a source's weight: so many times), in an order of its own. Packed, a sequence holds several
examples, each with positions of its own; unpacked, rows are padded on the right. A pair of answers is one sequence of two rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.batch import IGNORED, PADDING_DOCUMENT, Batch
from tuitrain.data.chat.packing import pack
from tuitrain.data.chat.tokenized import TokenizedSet
from tuitrain.data.order import derive

Ints = NDArray[np.int64]
References = Callable[[Ints], NDArray[np.float32]]
"""Reference log-probabilities of examples by their numbers in a set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How examples become rows."""

    seq_len: int
    packing: bool
    paired: bool
    """Whether examples 2 k and 2 k + 1 belong together."""
    pad_id: int
    truncate: bool = False


class ExampleLoader:
    """Endless training sequences, and the held-out ones."""

    def __init__(
        self,
        train: TokenizedSet,
        validation: TokenizedSet,
        shape: Shape,
        *,
        weights: NDArray[np.float64],
        token_bytes: NDArray[np.int32],
        seed: int,
        shuffle: bool = True,
    ) -> None:
        self.train, self.validation, self.shape, self.seed, self.shuffle = train, validation, shape, seed, shuffle
        self.seq_len = shape.seq_len
        self.rows_per_sequence = 2 if shape.paired else 1
        self._weights, self._token_bytes = weights, token_bytes
        self.references: tuple[References, References] | None = None
        """Of the training and the held-out side, once the reference model has run."""
        self.usable, self.held_out = _usable(train, shape), _usable(validation, shape)
        """Units (examples, or pairs by their first) that fit."""
        self._epoch = lru_cache(maxsize=4)(self._new_epoch)
        self._begins = [0]
        """First sequence of each epoch, as far as was asked."""
        self._placing = Lock()  # the next batch is loaded in a thread while the loop asks for the epoch

    @property
    def sequences_per_epoch(self) -> int:
        """Of the first epoch; others differ only where a weight is no whole number."""
        return len(self._epoch(0))

    def batch(self, first_sequence: int, count: int) -> Batch:
        """Sequences [first_sequence, first_sequence + count)."""
        rows = [self.examples_of(number) for number in range(first_sequence, first_sequence + count)]
        return self.rows_of(self.train, rows, self.references[0] if self.references else None)

    def epoch_of(self, sequence: int) -> float:
        """Passes over the training examples when `sequence` sequences are done."""
        epoch, within = self._place(sequence)
        return epoch + within / max(1, len(self._epoch(epoch)))

    def validation_batches(self, batch: int, max_tokens: int | None = None) -> Iterator[Batch]:
        """Held-out batches; every example is counted once."""
        groups = self._groups(self.validation, self.held_out, np.random.default_rng(0))
        if max_tokens is not None and groups:
            share = min(1.0, max_tokens / max(1, self.validation.num_tokens))
            count = max(1, int(len(groups) * share))
            groups = [groups[index * len(groups) // count] for index in range(count)]
        reference = self.references[1] if self.references else None
        for start in range(0, len(groups), batch):
            yield self.rows_of(self.validation, groups[start : start + batch], reference)

    def _new_epoch(self, epoch: int) -> list[list[int]]:
        assert len(self.usable), f"of {len(self.train)} examples none can be trained on"
        rng = np.random.default_rng(derive(self.seed, epoch))
        weights = self._weights[self.usable]
        copies = np.floor(weights).astype(np.int64) + (rng.random(len(weights)) < weights % 1.0)
        units = np.repeat(self.usable, copies)
        if not len(units):  # weights below one may leave nothing to an epoch; an epoch is never empty
            units = self.usable
        return self._groups(self.train, units if not self.shuffle else rng.permutation(units), rng)

    def _groups(self, examples: TokenizedSet, units: Ints, rng: np.random.Generator) -> list[list[int]]:
        """Sequences as lists of examples."""
        if self.shape.paired:
            return [[unit, unit + 1] for unit in units.tolist()]
        if not self.shape.packing:
            return [[unit] for unit in units.tolist()]
        lengths = np.minimum(examples.lengths[units] - 1, self.seq_len)
        return [[int(units[each]) for each in group] for group in pack(lengths, self.seq_len, rng)]

    def _place(self, sequence: int) -> tuple[int, int]:
        with self._placing:
            while self._begins[-1] <= sequence:
                self._begins.append(self._begins[-1] + len(self._epoch(len(self._begins) - 1)))
            epoch = bisect_right(self._begins, sequence) - 1
            return epoch, sequence - self._begins[epoch]

    def examples_of(self, sequence: int) -> list[int]:
        """The training examples in a sequence, in their order."""
        epoch, within = self._place(sequence)
        return self._epoch(epoch)[within]

    def rows_of(self, examples: TokenizedSet, groups: list[list[int]], references: References | None = None) -> Batch:
        """Sequences given as lists of examples."""
        rows = [[each] for group in groups for each in group] if self.shape.paired else groups
        shape = (len(rows), self.seq_len)
        tokens, targets = np.full(shape, self.shape.pad_id, np.int64), np.full(shape, IGNORED, np.int64)
        packed = self.shape.packing
        document_ids = np.full(shape, PADDING_DOCUMENT, np.int64) if packed else None
        position_ids = np.zeros(shape, np.int64) if packed else None
        lengths = np.zeros(len(rows), np.int64)
        for row, group in enumerate(rows):
            at = 0
            for number, index in enumerate(group):
                example = examples[index]
                count = min(len(example.ids) - 1, self.seq_len - at)
                span = slice(at, at + count)
                tokens[row, span] = example.ids[:count]
                targets[row, span] = np.where(example.trained[1 : count + 1], example.ids[1 : count + 1], IGNORED)
                if document_ids is not None and position_ids is not None:
                    document_ids[row, span], position_ids[row, span] = number, np.arange(count)
                at += count
            lengths[row] = at
        valid = targets[targets != IGNORED]
        first = np.array([group[0] for group in rows], np.int64)
        return Batch(
            tokens=tokens, targets=targets, document_ids=document_ids, position_ids=position_ids, lengths=lengths,
            num_targets=len(groups) if self.shape.paired else len(valid),
            num_bytes=0 if self.shape.paired else int(self._token_bytes[valid].sum(dtype=np.int64)),
            reference=None if references is None else references(first),
            liked=examples.liked[first].astype(np.int64) if self.shape.paired and len(first) else None,
        )  # fmt: skip


def _usable(examples: TokenizedSet, shape: Shape) -> Ints:
    """Examples that fit, or that still hold something to learn once cut; pairs by their first, when both do."""
    ends = np.minimum(examples.lengths - 1, shape.seq_len) + 1
    fits = examples.lengths - 1 <= shape.seq_len
    if shape.truncate:
        # An answer that begins beyond the cut would leave nothing to learn.
        fits = examples.prompts < ends
    fits &= (examples.trained_counts > 0) & (examples.lengths > 1)
    if shape.paired:
        return np.flatnonzero(fits[0::2] & fits[1::2]) * 2
    return np.flatnonzero(fits)
