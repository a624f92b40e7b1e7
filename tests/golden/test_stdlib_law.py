"""The loss law of the embedded corpus against the runs it was fitted to (benchmarks/results/law.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuitrain.runs.planning import stdlib_law

MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "law.json"
RUNS = json.loads(MEASURED.read_text())["runs"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"depth-{run['depth']}-{run['tokens'] / 1e6:.1f}M")
def test_the_law_gives_back_the_measured_bits_per_byte(run: dict[str, float]) -> None:
    assert stdlib_law().loss(run["parameters"], run["bytes"]) == pytest.approx(run["bits_per_byte"], rel=0.07)


def test_the_law_knows_what_it_was_fitted_to() -> None:
    sizes = [run["parameters"] for run in RUNS]
    law = stdlib_law()
    assert (min(sizes), max(sizes)) == law.fitted_parameters
    assert law.extrapolates(100e6)
