"""Lengths: totals, percentiles, bins without gaps, orders of roles."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain.data.inspect.lengths import MAX_BINS, measure_lengths


def test_totals_percentiles_and_limit():
    report = measure_lengths(range(1, 101), [1] * 100, limit=90)
    assert (report.examples, report.tokens, report.trained_tokens, report.trained_share) == (100, 5050, 100, 100 / 5050)
    assert (report.shortest, report.longest, report.over_limit) == (1, 100, 10)
    assert report.percentiles == {5: 5, 25: 25, 50: 50, 75: 75, 90: 90, 95: 95, 99: 99}


def test_orders_and_turns():
    roles = [("system", "user", "assistant")] * 3 + [("user", "assistant")] * 2 + [("user", "assistant") * 10]
    report = measure_lengths([1] * 6, [0] * 6, roles)
    assert list(report.role_orders.items()) == [
        ("system user assistant", 3), ("user assistant", 2), ("user assistant " * 6 + "...", 1),
    ]  # fmt: skip
    assert report.turns == {2: 2, 3: 3, 20: 1}
    assert report.other_orders == 0


def test_many_orders_are_counted_not_named():
    roles = [("user",) * (number % 5) + (f"role{number}",) for number in range(70)]
    report = measure_lengths([1] * 70, [0] * 70, roles)
    assert len(report.role_orders) == 50
    assert report.other_orders == 20


def test_similar_lengths_get_even_bins_and_scattered_ones_widening_bins():
    even = measure_lengths(range(100, 400), [0] * 300).bins
    assert len({each.high - each.low for each in even}) == 1
    rng = np.random.default_rng(0)
    widening = measure_lengths(np.exp(rng.normal(5, 1.2, 3000)).astype(int), [0] * 3000).bins
    assert widening[-1].high - widening[-1].low > 100 * (widening[0].high - widening[0].low)


def test_nothing_measured():
    report = measure_lengths([], [])
    assert (report.tokens, report.trained_share, report.shortest, report.longest, report.bins) == (0, 0, 0, 0, ())


def test_json_round_trip():
    data = measure_lengths(np.array([5, 7]), np.array([1, 2]), [("user", "assistant")] * 2, limit=6).to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["turns"] == {"2": 2}
    assert data["trained_share"] == pytest.approx(0.25)


@given(st.lists(st.integers(0, 10) | st.integers(0, 5000) | st.integers(0, 2**59), min_size=1, max_size=50))
def test_bins_hold_every_example_once_without_gaps(lengths):
    bins = measure_lengths(lengths, [0] * len(lengths)).bins
    assert 1 <= len(bins) <= MAX_BINS
    assert bins[0].low <= min(lengths) <= bins[0].high
    assert bins[-1].low <= max(lengths) <= bins[-1].high
    assert all(before.high + 1 == after.low for before, after in pairwise(bins))
    assert [each.count for each in bins] == [sum(each.low <= length <= each.high for length in lengths) for each in bins]
