"""Units: what is written is read back, GB is not GiB, and what cannot be read says what would do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain_planners import (
    PlanError,
    format_bytes,
    format_count,
    format_duration,
    format_flop,
    format_value,
    parse_bytes,
    parse_count,
    parse_duration,
    parse_flop,
    parse_flop_per_s,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7B", 7e9),
        ("1.4T", 1.4e12),
        ("512k", 512_000),
        ("1_000", 1000),
        ("7e9", 7e9),
        ("2,048", 2048),
        (125, 125),
        ("135 M", 135e6),
    ],
)
def test_counts(text: str | float, value: float) -> None:
    assert parse_count(text) == value
    assert isinstance(parse_count(text), int)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80GB", 80 * 10**9),
        ("80GiB", 80 * 2**30),
        ("80 gib", 80 * 2**30),
        ("1.5MiB", 3 * 2**19),
        ("512", 512),
        ("512 B", 512),
        (7, 7),
    ],
)
def test_bytes(text: str | float, value: int) -> None:
    assert parse_bytes(text) == value


def test_a_bare_prefix_is_refused_because_it_could_mean_either() -> None:
    with pytest.raises(PlanError) as caught:
        parse_bytes("80G")
    assert "ambiguous" in caught.value.message
    assert "80GB" in caught.value.hint
    assert "80GiB" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("90s", 90), ("15min", 900), ("15m", 900), ("1h30m", 5400), ("1 h 30 min", 5400), ("2.5d", 216000)],
)
def test_durations(text: str, value: float) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(("text", "value"), [("1e21", 1e21), ("3.2 ZFLOP", 3.2e21), ("51.47GFLOP", 51.47e9)])
def test_flop(text: str, value: float) -> None:
    assert parse_flop(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["989 TFLOP/s", "989TFLOPS", "989e12"])
def test_flop_per_second(text: str) -> None:
    assert parse_flop_per_s(text) == pytest.approx(989e12, rel=1e-12)


@pytest.mark.parametrize(
    ("parse", "text", "near"),
    [
        (parse_bytes, "80GiBs", "GiB"),
        (parse_count, "7Bn", "B"),
        (parse_duration, "3 hous", "hours"),
        (parse_flop, "3 GFLOP/s", "GFLOP"),
    ],
)
def test_an_unknown_unit_names_the_nearest(parse: object, text: str, near: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse(text)  # type: ignore[operator]
    assert repr(near) in caught.value.hint, caught.value.hint


@pytest.mark.parametrize("text", ["", "GB", "1h oops", "--3", "1.2.3"])
def test_what_is_no_number_is_refused(text: str) -> None:
    for parse in (parse_bytes, parse_count, parse_duration, parse_flop, parse_flop_per_s):
        with pytest.raises(PlanError):
            parse(text)


@given(st.floats(min_value=1, max_value=1e17))
def test_a_written_count_reads_back(value: float) -> None:
    # Three significant digits are written: half a unit of the third is 0.5 %.
    assert parse_count(format_count(value)) == pytest.approx(value, rel=5.1e-3)


@given(st.floats(min_value=1, max_value=1e15))
def test_written_bytes_read_back(value: float) -> None:
    # Four digits, and below 1 KiB whole bytes are read.
    assert parse_bytes(format_bytes(value).replace("bytes", "B")) == pytest.approx(value, rel=5.1e-4, abs=1)


@given(st.floats(min_value=1e-3, max_value=3e7))
def test_a_written_duration_reads_back(value: float) -> None:
    # Two units are written; rounding to the smaller loses half of it: at worst half an hour of the last half hour below a day.
    assert parse_duration(format_duration(value)) == pytest.approx(value, rel=0.5 / 23.5)


@given(st.floats(min_value=1, max_value=1e24))
def test_written_flop_read_back(value: float) -> None:
    assert parse_flop(format_flop(value)) == pytest.approx(value, rel=5.1e-4)
    assert parse_flop_per_s(format_flop(value, "FLOP/s")) == pytest.approx(value, rel=5.1e-4)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (8192, "tokens", "8192 tokens"),
        (8_030_261_248, "parameters", "8.03B parameters"),
        (999_600, "tokens", "1M tokens"),
        (12_582_912, "bytes", "12 MiB"),
        (3725, "s", "1 h 2 min"),
        (7199, "s", "2 h"),
        (59.99, "s", "60 s"),
        (0.0451, "s", "45.1 ms"),
        (51_470_401_536, "FLOP/token", "51.47 GFLOP/token"),
        (1.5, "bits/byte", "1.5 bits/byte"),
        (0.25, "", "0.25"),
    ],
)
def test_values_are_written_as_people_write_them(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text
