"""Optimal tokens and models by every published fit, to the digits of independent computations."""

import math

import pytest

from tuitrain_planners import FITS, compute_optimal, effective_data, optimal_by_fit
from tuitrain_planners.quantity import given

NAMES = ("20x", "chinchilla-1", "chinchilla-2", "chinchilla-3", "chinchilla-3-unrounded", "epoch")
TOKENS_PER_PARAMETER = {
    124e6: (20.0, 20.0, 18.5, 28.2, 19.6, 25.1),
    1e9: (20.0, 20.3, 20.1, 44.0, 29.1, 22.6),
    8.030261248e9: (20.0, 20.7, 21.9, 68.8, 43.3, 20.4),
    70e9: (20.0, 21.0, 24.0, 109.4, 65.4, 18.4),
}


@pytest.mark.parametrize("parameters", sorted(TOKENS_PER_PARAMETER))
def test_tokens_per_parameter(parameters: float) -> None:
    found = {name: each.value / parameters for name, each in optimal_by_fit(parameters).items()}
    assert found == pytest.approx(dict(zip(NAMES, TOKENS_PER_PARAMETER[parameters], strict=True)), abs=0.05)


@pytest.mark.parametrize(
    ("name", "billions"), [("chinchilla-3", 1.82), ("chinchilla-3-unrounded", 2.22), ("epoch", 2.78), ("20x", 2.89)]
)
def test_the_model_for_1e21_flop(name: str, billions: float) -> None:
    parameters, tokens = compute_optimal(FITS[name], 1e21)
    assert parameters.value / 1e9 == pytest.approx(billions, abs=0.005)
    assert 6 * parameters.value * tokens.value == pytest.approx(1e21, rel=1e-12)


def test_approach_1_is_the_line_through_the_rows_of_table_3() -> None:
    """Hoffmann et al. (2022), Table 3, approach 1: least squares in logarithms over all nine rows."""
    rows = [
        (400e6, 8e9), (1e9, 20.2e9), (10e9, 205.1e9), (67e9, 1.5e12), (175e9, 3.7e12), (280e9, 5.9e12), (520e9, 11e12),
        (1e12, 21.2e12), (10e12, 216.2e12),
    ]  # fmt: skip
    x, y = ([math.log10(row[column]) for row in rows] for column in (0, 1))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    law = FITS["chinchilla-1"]
    assert law.exponent == pytest.approx(slope, rel=1e-9)  # type: ignore[union-attr]
    assert law.log10_scale == pytest.approx(mean_y - slope * mean_x, rel=1e-9)  # type: ignore[union-attr]


@pytest.mark.parametrize(("epochs", "worth"), [(1, 1.0), (2, 1.968), (4, 3.726), (16.387756, 10.727)])
def test_worth_of_repeated_data(epochs: float, worth: float) -> None:
    """Muennighoff et al. (2023), equation 5, by hand: 1 + 15.387756 * (1 - exp(-(epochs - 1) / 15.387756))."""
    assert effective_data(given("data", epochs * 1e8, "tokens"), 1e8).value / 1e8 == pytest.approx(worth, abs=5e-4)
