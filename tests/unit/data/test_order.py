"""The permutation: a bijection for every size and key, the same on every machine, and random enough to shuffle with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain.data.order import Permutation, derive


@given(n=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_every_size_is_permuted(n, key):
    images = Permutation(n, key)(np.arange(n))
    assert np.array_equal(np.sort(images), np.arange(n))


@given(n=st.integers(10**9, 2**62), key=st.integers(0, 2**32), start=st.integers(0, 10**8))
@settings(deadline=None)
def test_huge_sizes_need_no_memory_and_never_collide(n, key, start):
    images = Permutation(n, key)(np.arange(start, start + 500))
    assert len(np.unique(images)) == 500
    assert images.min() >= 0
    assert images.max() < n


def test_single_images_equal_those_of_a_whole_array():
    permutation = Permutation(1000, 7)
    whole = permutation(np.arange(1000))
    assert [int(permutation(np.array([index]))[0]) for index in range(0, 1000, 37)] == whole[::37].tolist()


def test_order_is_the_same_on_every_machine():
    assert Permutation(10, 42)(np.arange(10)).tolist() == [2, 6, 1, 8, 7, 5, 0, 9, 4, 3]
    assert derive(1, 2, 3) == 11850115760894843192


def test_keys_give_different_orders():
    orders = {tuple(Permutation(50, key)(np.arange(50))) for key in range(100)}
    assert len(orders) == 100


@pytest.mark.parametrize("n", [1000, 1 << 16, 100_003])
def test_neighbours_are_scattered(n):
    images = Permutation(n, 3)(np.arange(n)).astype(np.float64)
    mean_jump = np.abs(np.diff(images)).mean() / n
    assert abs(mean_jump - 1 / 3) < 0.03, f"mean jump {mean_jump:.3f} of n; a random order has 1/3"
    correlation = np.corrcoef(images, np.arange(n))[0, 1]
    assert abs(correlation) < 0.1, f"correlation {correlation:.3f}"


def test_nothing_cannot_be_permuted():
    with pytest.raises(AssertionError, match="0 things"):
        Permutation(0, 1)
