"""A random order of n things that needs no memory: a keyed permutation of [0, n), each image computed by itself.

A Feistel network permutes the smallest power of two that holds n, whatever its round function does; values that land at n or
above are sent through again until they come back in range ("cycle walking", Black and Rogaway 2002, Ciphers with Arbitrary
Finite Domains, https://www.cs.ucdavis.edu/~rogaway/papers/subset.pdf). Fewer than half of the values are out of range, so
fewer than two passes are needed on average. The halves differ by one bit where the number of bits is odd. The round function
is the finaliser of SplitMix64 (Steele et al. 2014). Good enough to shuffle with; no cryptography.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ROUNDS: Final = 8
_MAX: Final = 1 << 62
_MIX_1, _MIX_2, _GOLDEN = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


def derive(*parts: int) -> int:
    """A 64-bit number that depends on all parts, the same on every machine."""
    text = ",".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"tuitrain-order").digest(), "big")


class Permutation:
    """`permutation(index)` for whole arrays; every key gives another order."""

    def __init__(self, n: int, key: int) -> None:
        assert 0 < n <= _MAX, f"a permutation of {n} things"
        self.n = n
        bits = max(2, (n - 1).bit_length())
        self._low_bits, self._high_bits = bits // 2, bits - bits // 2
        self._keys = [np.uint64(derive(key, number)) for number in range(_ROUNDS)]

    def __call__(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Images of the indices, which are all in [0, n)."""
        values = index.astype(np.uint64)
        pending = np.arange(len(values))
        while len(pending):
            values[pending] = self._pass(values[pending])
            pending = pending[values[pending] >= np.uint64(self.n)]
        return values.astype(np.int64)

    def _pass(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """One permutation of the power of two: (left, right) becomes (right, left ^ f(right)); an even number of rounds."""
        left_bits, right_bits = self._high_bits, self._low_bits
        left, right = values >> np.uint64(right_bits), values & np.uint64((1 << right_bits) - 1)
        for key in self._keys:
            mixed = left ^ (_mix(right ^ key) & np.uint64((1 << left_bits) - 1))
            left, right = right, mixed
            left_bits, right_bits = right_bits, left_bits
        return (left << np.uint64(right_bits)) | right


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + _GOLDEN
    values = (values ^ (values >> _S30)) * _MIX_1
    values = (values ^ (values >> _S27)) * _MIX_2
    return values ^ (values >> _S31)
