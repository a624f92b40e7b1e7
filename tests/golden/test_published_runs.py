"""Published runs against the planner: the tables in `data/` are samples of what papers and repositories print, sources kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuitrain_planners.validation import Judged, read_rows, summarise, validate

HERE = Path(__file__).parent
PRESETS = HERE.parents[1] / "presets"
FITTED = ("MPT", "BIGSCI", "INEVO", "QWEN", "MBRIDGE")


def judged(name: str) -> tuple[Judged, ...]:
    return validate(read_rows(HERE / "data" / name).rows, PRESETS / "models", PRESETS / "hardware")


@pytest.fixture(scope="module")
def throughput() -> tuple[Judged, ...]:
    return judged("throughput.csv")


def test_speeds_of_published_runs(throughput: tuple[Judged, ...]) -> None:
    found = summarise(throughput)
    assert found.rows >= 60
    assert found.coverage >= 0.9
    assert found.median_error is not None
    assert found.p90_error is not None
    assert found.median_error <= 0.08
    assert found.p90_error <= 0.25


def test_runs_that_nothing_was_fitted_to(throughput: tuple[Judged, ...]) -> None:
    found = summarise([each for each in throughput if each.row.source not in FITTED])
    assert found.observations >= 15
    assert found.median_error is not None
    assert found.median_error <= 0.12


def test_bands_hold_nine_runs_of_ten(throughput: tuple[Judged, ...]) -> None:
    made = [each.prediction for each in throughput if each.prediction is not None]
    inside = [each.low <= each.measured <= each.high for each in made if each.measured is not None]
    assert sum(inside) / len(inside) >= 0.85


def test_memory_of_published_runs() -> None:
    """Allocated, reserved or shown by the driver, as each source measured; litgpt, torchtune, torchtitan, ms-swift, DeepSpeed,
    Megatron-DeepSpeed, InternEvo, and the formula of the ZeRO paper."""
    rows = judged("memory.csv")
    found = summarise(rows)
    assert found.rows >= 70
    assert found.coverage >= 0.9
    assert found.median_error is not None
    assert found.p90_error is not None
    assert found.median_error <= 0.08
    assert found.p90_error <= 0.25
    out_of_memory = [
        each.prediction for each in rows if each.prediction is not None and each.prediction.does_not_fit is not None
    ]
    assert sum(bool(each.does_not_fit) for each in out_of_memory) >= 0.75 * len(out_of_memory) > 0


def test_arithmetic_of_papers_is_repeated() -> None:
    rows = judged("compute.csv")
    computed = [each for each in rows if each.error is not None]
    assert len(computed) >= 26
    for each in computed:
        limit = 0.05 if each.doubt else 0.01
        assert abs(each.error or 0) <= limit, each.row.id
    assert [each.row.id for each in computed if each.doubt] == ["C-CHIN3-004"]


def test_what_the_planner_has_no_formula_for_has_a_reason() -> None:
    reasons = {each.row.metric: each.reason for each in judged("compute.csv") if each.prediction is None}
    assert reasons == {
        "fit_M_opt": "the planner has no fit_M_opt",
        "fit_R_N*": "the planner has no fit_R_N*",
        "HFU": "how much was computed again is not stated",
    }
