"""MinHash signatures and the bands that find similar texts without comparing all pairs.

Two sets agree in one minimum with the probability of their Jaccard similarity |A and B| / |A or B| (Broder 1997, "On the
resemblance and containment of documents", doi:10.1109/SEQUEN.1997.666900), so the share of k equal minima estimates it with a
standard deviation of sqrt(J (1 - J) / k): 0.035 at J = 0.8 and k = 128. A signature is cut into b bands of r minima; texts that
agree in a whole band are candidates, which happens with probability 1 - (1 - J^r)^b (Leskovec, Rajaraman and Ullman, "Mining
of Massive Datasets", section 3.4, http://www.mmds.org).

The "permutations" are (a x + b) mod 2^64 / 2^32 on 32-bit keys: multiply-add-shift, strongly universal where a and b are
random 64-bit numbers (Thorup 2015, "High speed hashing for integers and strings", arXiv:1504.06804, section 3.3).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.inspect.words import Hashes, mix, ngram_hashes, word_hashes

Signature = NDArray[np.uint32]

SHINGLE_WORDS: Final = 5
_BLOCK: Final = 256
"""Shingles hashed at once: 128 x 256 x 8 bytes is 256 KB, which stays in a core's second-level cache."""
_SHIFT: Final = np.uint64(32)


def shingles(text: str) -> Hashes:
    """The set of 5-word shingles, sorted; empty for a shorter text."""
    return np.unique(ngram_hashes(word_hashes(text), SHINGLE_WORDS))


def jaccard(one: Hashes, other: Hashes) -> float:
    """The similarity of two sets, each sorted and without repeats."""
    if not len(one) or not len(other):
        return 0.0
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


class MinHasher:
    """Makes signatures; equal `permutations` and `seed` make comparable ones."""

    def __init__(self, permutations: int, seed: int) -> None:
        self.permutations = permutations
        random = np.random.default_rng(seed)
        self._factors, self._terms = random.integers(0, 2**64, (2, permutations, 1), dtype=np.uint64)

    def signature(self, hashes: Hashes) -> Signature:
        """The least value of each hash function over a set that is not empty."""
        assert len(hashes), "an empty set has no minimum"
        keys = hashes >> _SHIFT
        lowest = np.full(self.permutations, np.iinfo(np.uint64).max, np.uint64)
        for start in range(0, len(keys), _BLOCK):
            values = self._factors * keys[start : start + _BLOCK]
            values += self._terms
            np.minimum(lowest, values.min(axis=1), out=lowest)
        return (lowest >> _SHIFT).astype(np.uint32)  # dividing keeps the order, so it is done once, at the end


def choose_bands(threshold: float, permutations: int, recall: float = 0.99) -> tuple[int, int]:
    """(bands, rows): the most rows, so the fewest candidates, that still find `recall` of the pairs at the threshold."""
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= recall:
            return bands, rows
    return permutations, 1


def band_keys(signatures: NDArray[np.uint32], band: int, rows: int) -> Hashes:
    """One key per text: texts with equal keys agree in all rows of the band."""
    keys = np.full(len(signatures), band, np.uint64)
    for column in range(band * rows, (band + 1) * rows):
        keys = mix(keys + signatures[:, column])
    return keys
