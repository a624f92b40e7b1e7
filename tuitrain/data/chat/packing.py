"""Which examples share a sequence. Nothing is cropped: an example lies whole in one sequence, or is no part of the epoch.

Best fit decreasing: the longest first, each into the fullest sequence that still takes it (Johnson 1974; for language models
Ding et al. 2024, arXiv:2404.10830). Examples of equal length change places from epoch to epoch, so that neighbours differ.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def pack(lengths: Ints, size: int, rng: np.random.Generator) -> list[list[int]]:
    """Groups of indices whose lengths sum to at most `size`, in random order. Every length must be at most `size`."""
    assert not len(lengths) or lengths.max() <= size, f"an example of {lengths.max()} does not fit {size}"
    order = rng.permutation(len(lengths))
    order = order[np.argsort(-lengths[order], kind="stable")]
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (room left, bin), ascending
    for index in order.tolist():
        length = int(lengths[index])
        at = bisect_left(room, (length, -1))
        if at == len(room):
            bins.append([index])
            left, number = size - length, len(bins) - 1
        else:
            left, number = room.pop(at)
            bins[number].append(index)
            left -= length
        if left > 0:
            insort(room, (left, number))
    return [bins[number] for number in rng.permutation(len(bins)).tolist()]
