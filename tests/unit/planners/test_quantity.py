"""Quantities: sums keep their terms, explanations put values in, and every formula of a plan computes its value."""

import math

import pytest

from tuitrain_planners import BIBLIOGRAPHY, PlanRequest, Quantity, figures, fit, fit_to_time, plan
from tuitrain_planners.quantity import FUNCTIONS, derived, given, substitute, total
from tuitrain_planners.scaling import compute_optimal


def test_a_sum_keeps_its_terms_and_adds_up() -> None:
    parts = (given("a", 3, "bytes"), given("b", 4, "bytes"))
    whole = total("both", parts)
    assert whole.value == 7
    assert whole.terms == parts
    assert whole.term("b").value == 4
    with pytest.raises(AssertionError, match="cannot add"):
        total("mixed", (given("a", 3, "bytes"), given("b", 4, "s")))


def test_explain_shows_formula_values_sources_and_children() -> None:
    n = derived("parameters", 50, "parameters", "V * h", V=10, h=5)
    flop = derived("work", 300, "FLOP", "6 * N", "kaplan2020", N=n)
    text = total("all work", (flop, given("other", 1, "FLOP", "assumption: one more"))).explain()
    assert "6 * N" in text
    assert "6 * 50" in text
    assert "10 * 5" in text
    assert "N: parameters = 50 parameters" in text
    assert BIBLIOGRAPHY["kaplan2020"].url in text
    assert "assumption: one more" in text
    assert "= 300 FLOP + 1 FLOP" in text


def test_explain_writes_a_shared_quantity_once() -> None:
    shared = derived("shared", 6, "", "x * y", x=2, y=3)
    text = derived("square", 36, "", "a * b", a=shared, b=shared).explain()
    assert text.count("2 * 3") == 1
    assert "shared = 6 (explained above)" in text


def test_explain_stops_at_the_depth_asked_for() -> None:
    inner = derived("inner", 2, "", "x", x=2)
    outer = derived("outer", 2, "", "y", y=derived("middle", 2, "", "z", z=inner))
    assert "middle" in outer.explain(depth=1)
    assert "inner" not in outer.explain(depth=1)
    assert "middle" not in outer.explain(depth=0)


def test_substitution_only_replaces_whole_names() -> None:
    assert substitute("max(s, s_max) * s", {"s": 2, "s_max": 3}) == "max(2, 3) * 2"
    assert substitute("x * 1e3", {"x": 0.1234567}) == "0.123457 * 1e3"


@pytest.mark.parametrize("which", ["gpu_request", "cpu_request"])
def test_every_formula_in_a_plan_computes_its_value(which: str, request: pytest.FixtureRequest) -> None:
    made = plan(request.getfixturevalue(which))
    roots = [
        *figures(made).values(),
        *made.flop_by_convention.values(),
        *made.optimal_by_fit.values(),
        *made.memory.step.phases,
    ]
    band, hours = made.memory.device_bytes, made.throughput.duration_s
    roots += [band.low, band.high, hours.low, hours.high]
    checked = sum(check(each) for root in roots for each in root.walk())
    assert checked > 100, checked


def test_every_formula_of_scaling_and_budget_computes_its_value(cpu_request: PlanRequest) -> None:
    roots = [each for name in ("epoch", "chinchilla-2") for each in compute_optimal(fit(name), 1e21)]
    budget = fit_to_time(600, cpu_request, unique_tokens_by_vocab={8192: 2e5})
    roots += [candidate.plan.loss for candidate in budget.candidates]
    assert sum(check(each) for root in roots for each in root.walk()) > 20


def check(quantity: Quantity) -> bool:
    """Evaluates the formula, or adds the terms; returns whether there was anything to check. The source must be real."""
    source = quantity.source
    assert (
        source in BIBLIOGRAPHY
        or source in ("definition", "given")
        or source.startswith(("assumption: ", "measured: ", "NVIDIA "))
        or "https://" in source
    ), f"{quantity.name}: nobody knows what the source {source!r} is"
    if quantity.formula:
        values = {name: each.value if isinstance(each, Quantity) else each for name, each in quantity.inputs.items()}
        found = eval(quantity.formula, {"__builtins__": {}}, FUNCTIONS | values)
    elif quantity.terms:
        found = math.fsum(each.value for each in quantity.terms)
    else:
        return False
    # 1e-9: the code multiplies in another order than the formula is written in.
    assert found == pytest.approx(quantity.value, rel=1e-9), (
        f"{quantity.name}: {quantity.formula} gives {found}, not {quantity.value}"
    )
    return True


def test_the_formula_check_can_fail() -> None:
    with pytest.raises(AssertionError, match="gives 6"):
        check(derived("wrong", 7, "", "x * y", x=2, y=3))
    with pytest.raises(AssertionError, match="nobody knows"):
        check(given("odd", 7, "", "hearsay"))
