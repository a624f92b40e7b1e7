"""The mixture: every prefix in proportion, nothing drifts, place i by one look-up."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tuitrain.data.mixture import MAX_PERIOD, Mixture

decimals = st.integers(1, 999).map(lambda number: number / 100)


def deviations(weights, shares, sequences):
    """Largest deviation of any source from its share over all prefixes."""
    sources, _ = Mixture(weights).locate(np.arange(sequences))
    worst = 0.0
    for source, share in enumerate(shares):
        counts = np.concatenate([[0], np.cumsum(sources == source)])
        worst = max(worst, float(np.abs(counts - np.arange(sequences + 1) * float(share)).max()))
    return worst


@given(weights=st.lists(decimals, min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_every_prefix_is_within_one_of_the_exact_share(weights):
    total = sum(Fraction(repr(weight)) for weight in weights)
    shares = [Fraction(repr(weight)) / total for weight in weights]
    assert Mixture(weights).shares == tuple(shares)
    assert deviations(weights, shares, 5000) < 1 + 1e-9


@given(weights=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6))
@example(weights=[512.0, 0.00390625, 0.00390625])
@settings(deadline=None, max_examples=20)
def test_weights_of_many_digits_are_rounded_once_and_then_kept_exactly(weights):
    mixture = Mixture(weights)
    assert mixture.period <= MAX_PERIOD
    for share, weight in zip(mixture.shares, weights, strict=True):
        # One unit for the rounding; sources below one unit are lifted to one, which the others pay for.
        assert abs(float(share) - weight / sum(weights)) <= (1 + len(weights)) / MAX_PERIOD
    assert deviations(weights, mixture.shares, 3000) < 1 + 1e-9


def test_nothing_drifts_after_a_billion_sequences():
    mixture = Mixture([0.7, 0.2, 0.1])
    n = 1_000_000_007
    for count, share in zip(mixture.counts(n), mixture.shares, strict=True):
        assert abs(count - n * share) < 1


def test_many_small_sources_beside_a_large_one_keep_the_bound():
    weights = [0.9] + [0.01] * 10
    assert deviations(weights, [Fraction(90, 100)] + [Fraction(1, 100)] * 10, 1000) < 1


@given(weights=st.lists(decimals, min_size=1, max_size=5), start=st.integers(0, 10**12))
@settings(deadline=None, max_examples=50)
def test_each_source_is_counted_through_without_gaps_from_anywhere(weights, start):
    mixture = Mixture(weights)
    sources, ranks = mixture.locate(np.arange(start, start + 200))
    expected = mixture.counts(start)
    for source, rank in zip(sources.tolist(), ranks.tolist(), strict=True):
        assert rank == expected[source]
        expected[source] += 1
    assert expected == mixture.counts(start + 200)


def test_scale_of_the_weights_does_not_matter():
    places = np.arange(100)
    assert np.array_equal(Mixture([7, 3]).locate(places)[0], Mixture([0.7, 0.3]).locate(places)[0])


@pytest.mark.parametrize("weights", [[0.0, 1.0], [-1.0], []])
def test_weights_are_positive(weights):
    with pytest.raises(AssertionError):
        Mixture(weights)
