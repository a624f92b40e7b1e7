"""Numbers for people."""

from __future__ import annotations

import math

import pytest

from tuitrain.tui.render import format as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12_100, "12.1k"),
        (1_460_000, "1.46M"),
        (820, "820"),
        (0, "0"),
        (999.6, "1k"),
        (0.5, "0.5"),
        (-2500, "-2.5k"),
        (math.nan, "-"),
    ],
)
def test_si(value, text):
    assert fmt.si(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.2139, "2.214"),
        (0.83, "0.830"),
        (10.25, "10.25"),
        (2.4e-4, "2.4e-4"),
        (123.4, "123"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (0, "0"),
    ],
)
def test_number(value, text):
    assert fmt.number(value) == text


def test_sizes_are_binary():
    assert fmt.size(61.2 * 2**30) == "61.2 GiB"
    assert fmt.size(812 * 2**20) == "812 MiB"
    assert fmt.size(math.nan) == "-"


def test_times():
    assert fmt.duration(6720) == "1 h 52 m"
    assert fmt.duration(math.nan) == "-"
    assert [fmt.age(each) for each in (5, 200, 7300, 200_000)] == ["5 s", "3 m", "2 h", "2 d"]


def test_differences_need_both_numbers():
    assert fmt.signed_percent(fmt.relative(112, 100)) == "+12%"
    assert fmt.signed_percent(fmt.relative(math.nan, 100)) == "-"
    assert fmt.signed_percent(fmt.relative(1, 0)) == "-"


def test_exponents_are_short():
    assert fmt.exponent(2.4e-4) == "2.4e-4"
    assert fmt.exponent(1e-3) == "1e-3"
    assert fmt.exponent(0) == "0"
