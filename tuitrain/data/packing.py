"""Cut one source's stream of tokens into windows, so that in each epoch every token is predicted exactly once.

The documents of a source, each ending in the end-of-text token, are one circular stream of N tokens: after the last comes the
first. A window is `seq_len` inputs and, one place on, `seq_len` targets. An epoch is the ceil(N / seq_len) windows whose
targets are the stream from an offset once around; only the last is padded. No token is cropped or repeated, and none is
missed: the first token of the stream is predicted from the last end-of-text token, as a document's first token always is.

Shuffling gives each epoch its own offset, so windows begin elsewhere every time, and its own order of the windows. Where
documents are isolated, the first token of each document is no target: nothing of its own document precedes it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.batch import IGNORED, Rows
from tuitrain.data.order import Permutation, derive
from tuitrain.data.shards import ShardSet

Ints = NDArray[np.int64]


class Packing:
    """Windows of one ShardSet, numbered on through the epochs."""

    def __init__(self, shards: ShardSet, *, seq_len: int, key: int, shuffle: bool) -> None:
        assert shards.num_tokens > 0, f"{shards.folder} holds no token"
        self.shards, self.seq_len, self.key, self.shuffle = shards, seq_len, key, shuffle
        self.num_tokens = shards.num_tokens
        self.num_windows = -(-shards.num_tokens // seq_len)
        """Windows of one epoch."""
        self._epoch = lru_cache(maxsize=8)(self._new_epoch)

    def spans(self, windows: Ints) -> tuple[Ints, Ints]:
        """Where in the stream each window's targets begin, and how many there are."""
        epochs, slots = np.divmod(windows, self.num_windows)
        starts = np.zeros_like(slots)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            offset, order = self._epoch(int(epoch))
            slots[chosen] = order(slots[chosen]) if order else slots[chosen]
            starts[chosen] = (offset + slots[chosen] * self.seq_len) % self.num_tokens
        return starts, np.minimum(self.seq_len, self.num_tokens - slots * self.seq_len)

    def fill(self, rows: Rows, row: int, start: int, length: int) -> None:
        """Write the window whose targets are the `length` tokens from `start` into row `row`."""
        first = (start - 1) % self.num_tokens
        stream = self._circular(first, length + 1)
        rows.tokens[row, :length] = stream[:-1]
        rows.targets[row, :length] = stream[1:]
        if rows.document_ids is not None and rows.position_ids is not None:
            last = self._document_ends(first, length)  # places of inputs that end a document
            rows.targets[row, last] = IGNORED
            begins = np.zeros(length, np.int64)
            begins[last[last + 1 < length] + 1] = 1
            rows.document_ids[row, :length] = np.cumsum(begins)
            places = np.arange(length)
            rows.position_ids[row, :length] = places - np.maximum.accumulate(np.where(begins, places, 0))

    def _new_epoch(self, epoch: int) -> tuple[int, Permutation | None]:
        if not self.shuffle:
            return 0, None
        return derive(self.key, epoch, 0) % self.num_tokens, Permutation(self.num_windows, derive(self.key, epoch, 1))

    def _circular(self, start: int, length: int) -> NDArray[np.generic]:
        parts = []
        while length:
            stop = min(start + length, self.num_tokens)
            parts.append(self.shards.tokens(start, stop))
            length -= stop - start
            start = 0
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _document_ends(self, start: int, length: int) -> Ints:
        """Which of `length` tokens from `start` are the last of their document, counted from 0."""
        parts, before = [], 0
        while before < length:
            stop = min(start + length - before, self.num_tokens)
            parts.append(self.shards.document_ends(start, stop) - 1 - start + before)
            before += stop - start
            start = 0
        return np.concatenate(parts)
