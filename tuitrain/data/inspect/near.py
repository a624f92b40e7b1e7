"""Near copies: candidates from bands of MinHash signatures, each judged by its exact similarity. `minhash` has the sources.

Memory is 512 bytes of signature per text. A text is compared with at most COMPARED others per band, so time grows with the
number of texts even where thousands share their boilerplate; what that costs is a copy that meets more strangers than that in
every band it shares with its original. A pair at the threshold is missed with a probability below 1 in 100, a more similar
one more rarely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.inspect.minhash import MinHasher, band_keys, choose_bands, jaccard, shingles

PERMUTATIONS: Final = 128
COMPARED: Final = 8


class NearSearch:
    """Which of the `chosen` texts are near copies. Texts of fewer words than a shingle are never."""

    def __init__(self, texts: Sequence[str], chosen: Iterable[int], threshold: float, seed: int) -> None:
        self.threshold = threshold
        # three standard deviations below: an estimate under it is not worth the exact similarity
        self.doubtful = threshold - 3 * math.sqrt(threshold * (1 - threshold) / PERMUTATIONS)
        hasher = MinHasher(PERMUTATIONS, seed)
        self.index: list[int] = []
        signatures = np.empty((len(texts), PERMUTATIONS), np.uint32)
        for index in chosen:
            if len(found := shingles(texts[index])):
                signatures[len(self.index)] = hasher.signature(found)
                self.index.append(index)
        self.signatures: NDArray[np.uint32] = signatures[: len(self.index)]
        self.parent = list(range(len(self.index)))
        self.weakest = [1.0] * len(self.index)
        sets = lru_cache(maxsize=32)(lambda node: shingles(texts[self.index[node]]))  # few: a text may be megabytes
        self.similarity = lru_cache(maxsize=1 << 16)(lambda one, other: jaccard(sets(one), sets(other)))

    def groups(self) -> list[tuple[list[int], float]]:
        """Indices of each group of two or more, and the similarity of the least similar pair that joined it."""
        bands, rows = choose_bands(self.threshold, PERMUTATIONS)
        for band in range(bands):
            keys = band_keys(self.signatures, band, rows)
            order = np.argsort(keys, kind="stable")
            borders = np.flatnonzero(np.diff(keys[order])) + 1
            for bucket in np.split(order, borders):
                if len(bucket) > 1:
                    self._join(bucket.tolist())
        members: dict[int, list[int]] = {}
        for node, index in enumerate(self.index):
            members.setdefault(self._root(node), []).append(index)
        return [(indices, self.weakest[root]) for root, indices in members.items() if len(indices) > 1]

    def _join(self, bucket: list[int]) -> None:
        """Compare each with the texts of the bucket that joined nothing before it, COMPARED of them at most."""
        heads: list[int] = []
        for node in bucket:
            if self._root(node) in [self._root(head) for head in heads]:
                continue
            estimates = (self.signatures[heads] == self.signatures[node]).mean(axis=1)
            for head, estimate in zip(heads, estimates, strict=True):
                if estimate >= self.doubtful and (similarity := self.similarity(head, node)) >= self.threshold:
                    self._unite(head, node, similarity)
                    break
            else:
                if len(heads) < COMPARED:
                    heads.append(node)

    def _unite(self, one: int, other: int, similarity: float) -> None:
        one, other = sorted((self._root(one), self._root(other)))
        self.parent[other] = one
        self.weakest[one] = min(self.weakest[one], self.weakest[other], similarity)

    def _root(self, node: int) -> int:
        while self.parent[node] != node:
            self.parent[node] = node = self.parent[self.parent[node]]
        return node
