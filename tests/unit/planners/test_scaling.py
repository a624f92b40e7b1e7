"""Scaling laws: the optimum is one, repetition discounts, verdicts turn where they say."""

from pathlib import Path

import pytest
from hypothesis import given as forall
from hypothesis import strategies as st

from tuitrain_planners import (
    EPOCH,
    FITS,
    LossLaw,
    PlanError,
    compute_optimal,
    effective_data,
    fit,
    load_law,
    loss_law,
    predicted_loss,
    training_verdict,
)
from tuitrain_planners.quantity import given

LAWS = [law for law in FITS.values() if isinstance(law, LossLaw)]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@forall(flop=st.floats(1e17, 1e26))
def test_no_other_split_of_the_compute_does_better(law: LossLaw, flop: float) -> None:
    parameters, tokens = (each.value for each in compute_optimal(law, flop))
    assert 6 * parameters * tokens == pytest.approx(flop, rel=1e-9)
    best = law.loss(parameters, tokens)
    for factor in (0.8, 0.99, 1.01, 1.25):
        assert law.loss(parameters * factor, tokens / factor) >= best - 1e-12


@pytest.mark.parametrize("name", list(FITS))
@forall(parameters=st.floats(1e7, 1e12))
def test_optimal_tokens_and_optimal_parameters_are_inverse(name: str, parameters: float) -> None:
    tokens = fit(name).optimal_data(parameters)
    assert fit(name).optimal_parameters(6 * parameters * tokens) == pytest.approx(parameters, rel=1e-9)


def test_the_parts_of_a_loss_add_up_to_it() -> None:
    loss = predicted_loss(EPOCH, 1e9, given("data", 2e10, "tokens"))
    assert loss.value == pytest.approx(EPOCH.loss(1e9, 2e10), rel=1e-12)
    assert [each.name for each in loss.terms] == ["irreducible", "finite model", "finite data"]
    assert loss.term("finite data").value > loss.term("finite model").value * 0.1


@forall(unique=st.floats(1e3, 1e12), epochs=st.floats(1.01, 200))
def test_repeated_data_is_worth_less_than_fresh_and_more_than_none(unique: float, epochs: float) -> None:
    worth = effective_data(given("data", unique * epochs, "tokens"), unique).value
    assert unique < worth < unique * epochs
    assert worth < unique * (1 + 15.387756)


def test_one_pass_and_endless_data_are_not_discounted() -> None:
    data = given("data", 5e8, "tokens")
    assert effective_data(data, 5e8) is data
    assert effective_data(data, None) is data


def test_four_epochs_are_nearly_as_good_as_fresh_data() -> None:
    """Muennighoff et al. (2023), abstract: up to 4 epochs change the loss negligibly."""
    fresh = EPOCH.loss(1e9, 4e10)
    repeated = EPOCH.loss(1e9, effective_data(given("data", 4e10, "tokens"), 1e10).value)
    assert 0 < repeated - fresh < 0.01


@pytest.mark.parametrize(("share", "word"), [(0.49, "under"), (0.51, "near"), (1.9, "near"), (2.1, "over")])
def test_the_verdict_turns_at_half_and_at_twice(share: float, word: str) -> None:
    assert training_verdict(share * 1e9, 1e9).startswith(word)


def test_a_law_measured_here_can_stand_in_for_a_published_one() -> None:
    law = LossLaw(
        name="mine",
        e=0.6,
        a=50,
        b=100,
        alpha=0.3,
        beta=0.3,
        unit="bits/byte",
        source="measured: 12 runs",
        corpus="c",
        data_unit="bytes",
    )
    loss = predicted_loss(law, 1e6, given("data", 1e8, "bytes"))
    assert loss.unit == "bits/byte"
    assert loss.value == pytest.approx(0.6 + 50 / 1e6**0.3 + 100 / 1e8**0.3)


def test_a_law_with_impossible_constants_is_refused() -> None:
    with pytest.raises(PlanError, match=r"beta is -0\.3"):
        LossLaw(name="bad", e=1, a=1, b=1, alpha=0.3, beta=-0.3, unit="nats/token", source="measured: x", corpus="c")


def test_names_are_helped_and_rules_predict_no_loss() -> None:
    with pytest.raises(PlanError) as caught:
        fit("epoc")
    assert "'epoch'" in caught.value.hint
    with pytest.raises(PlanError, match="predicts no loss"):
        loss_law("20x")


def test_the_refit_carries_its_standard_errors_and_range() -> None:
    assert set(EPOCH.standard_errors) == {"e", "a", "b", "alpha", "beta"}
    assert EPOCH.extrapolates(1e6)
    assert not EPOCH.extrapolates(1e9)


LAW_FILE = """
e = 0.6
a = 50.0
b = 100
alpha = 0.3
beta = 0.31
unit = "bits/byte"
data_unit = "bytes"
source = "measured: 12 runs"
corpus = "somewhere"
fitted_parameters = [1e6, 3e7]
"""


def test_a_law_is_read_from_a_file_and_named_after_it(tmp_path: Path) -> None:
    path = tmp_path / "here.toml"
    path.write_text(LAW_FILE)
    law = load_law(path)
    assert law.name == "here"
    assert law.loss(1e6, 1e8) == pytest.approx(0.6 + 50 / 1e6**0.3 + 100 / 1e8**0.31)
    assert law.extrapolates(9e5)
    assert not law.extrapolates(2e7)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("bits/byte", "bits", "unit is 'bits'"),
        ('"bytes"', '"lines"', "data_unit is 'lines'"),
        ("e = 0.6", "", "lacks e"),
        ("b = 100", "b = 0", "b is 0"),
    ],
)
def test_a_broken_law_file_is_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "here.toml"
    path.write_text(LAW_FILE.replace(old, new, 1))
    with pytest.raises(PlanError) as caught:
        load_law(path)
    assert words in caught.value.message
