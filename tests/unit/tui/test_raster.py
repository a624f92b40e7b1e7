"""Curves as characters: golden pictures, and that neither spikes nor gaps are ever lost to decimation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tuitrain.tui.render.raster import NOBODY, Raster, trace


def picture(marker, x, y, *, width=16, height=4, x0=0.0, x1=None, dotted=False):
    raster = Raster(width, height, marker)
    curve = trace(np.asarray(x, float), np.asarray(y, float), x0, float(x[-1]) if x1 is None else x1, raster.pixel_columns)
    raster.draw(curve, curve.low, curve.high, 0, dotted=dotted)
    return ["".join(text for text, _ in raster.spans(row, ["line"])).rstrip() for row in range(height)]


WAVE = (np.arange(64), 0.5 + 0.5 * np.sin(np.arange(64) / 10))
GOLDEN = {
    "braille": [
        " ⢀⠔⠋⠉⠲⡄",
        "⡰⠃    ⠈⢦       ⢀",
        "⠁       ⠳⡀    ⢠⠎",
        "         ⠘⠦⣀⣠⠔⠁",
    ],
    "block": [
        " ▗▟▀▀▚▖",
        "▟▀    ▝▙       ▗",
        "▘       ▜▖    ▄▀",
        "         ▝▚▄▄▛▘",
    ],
    "ascii": [
        " .:'':.",
        ":'    ':       .",
        "'       :.    .'",
        "         ':..:'",
    ],
}


def test_braille_golden():
    assert picture("braille", *WAVE) == GOLDEN["braille"]


def test_block_golden():
    assert picture("block", *WAVE) == GOLDEN["block"]


def test_ascii_is_ascii_and_shows_the_same_wave():
    rows = picture("ascii", *WAVE)
    assert all(row.isascii() for row in rows)
    assert rows == GOLDEN["ascii"]


def test_a_spike_among_a_hundred_thousand_samples_is_seen():
    y = np.zeros(100_000)
    y[54_321] = 1.0
    rows = picture("braille", np.arange(100_000), y, width=40)
    assert rows[0].strip(), "the spike reaches the top row"


def test_nan_breaks_the_line():
    y = np.full(32, 0.5)
    y[12:20] = np.nan
    row = picture("braille", np.arange(32), y, width=16, height=1)[0].ljust(16)
    assert " " in row[6:10], f"no gap in {row!r}"
    assert row[0] != " "
    assert row[15] != " "


def test_samples_far_apart_are_joined_by_a_straight_line():
    row = picture("braille", [0, 100], [0.5, 0.5], width=20, height=1)[0]
    assert " " not in row
    assert len(row) == 20


def test_a_zoomed_line_between_two_samples_outside_crosses_the_window():
    assert (
        picture("braille", [0, 100], [0.0, 1.0], x0=40, x1=60)[1].strip()
        or picture("braille", [0, 100], [0.0, 1.0], x0=40, x1=60)[2]
    )


def test_the_later_series_owns_the_cell():
    raster = Raster(8, 2, "braille")
    curve = trace(np.arange(16.0), np.full(16, 0.5), 0, 15, raster.pixel_columns)
    raster.draw(curve, curve.low, curve.high, 0)
    raster.draw(curve, curve.low, curve.high, 1)
    assert set(raster.owner[raster.owner != NOBODY].tolist()) == {1}


def test_dotted_leaves_gaps():
    row = picture("braille", [0, 100], [0.5, 0.5], width=20, height=1, dotted=True)[0]
    assert " " in row


@pytest.mark.parametrize("columns", [1, 2, 7, 80])
@settings(max_examples=60, deadline=None)
@given(y=hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6) | st.just(np.nan) | st.just(np.inf)))
def test_decimation_keeps_extremes_and_invents_nothing(columns, y):
    x = np.arange(len(y), dtype=float)
    curve = trace(x, y, 0.0, max(1.0, x[-1]), columns)
    finite = y[np.isfinite(y)]
    if not len(finite):
        assert len(curve) == 0
        return
    assert np.nanmin(curve.low) == finite.min()
    assert np.nanmax(curve.high) == finite.max()
    assert (np.diff(curve.columns) > 0).all()
    assert curve.columns[0] >= 0
    assert curve.columns[-1] < columns
    assert not curve.joined[0]


@settings(max_examples=60, deadline=None)
@given(
    y=hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-2, 3) | st.just(np.nan)),
    width=st.integers(1, 40),
    height=st.integers(1, 12),
    marker=st.sampled_from(["braille", "block", "ascii"]),
)
def test_every_picture_has_its_size(y, width, height, marker):
    raster = Raster(width, height, marker)
    curve = trace(np.arange(len(y), dtype=float), y, 0.0, 50.0, raster.pixel_columns)
    raster.draw(curve, curve.low, curve.high, 0)
    for row in range(height):
        assert sum(len(text) for text, _ in raster.spans(row, ["line"])) == width
