"""Goodput: what saving, failures and restarts leave of the time; Llama 3's own figures."""

from dataclasses import replace
from math import sqrt

import pytest
from hypothesis import given as given_
from hypothesis import strategies as st

from tuitrain_planners import Band, Host, Mesh, PlanError, PlanRequest, Reliability, plan, to_dict, to_text
from tuitrain_planners.goodput import LLAMA3_RATE, OPT_RATE, Goodput, goodput
from tuitrain_planners.quantity import given


def made(
    devices: int = 1024,
    *,
    checkpoint_s: float = 30.0,
    rate: float = 2e-5,
    restart_s: float = 600.0,
    period_s: float | None = None,
) -> Goodput:
    each = given("duration", 1e6, "s")
    failures = given("rate", rate, "1/h")
    reliability = Reliability(
        failures_per_device_hour=(failures,) * 3,
        restart_s=(restart_s,) * 3,
        checkpoint_s=checkpoint_s,
        checkpoint_period_s=period_s,
    )
    return goodput(Band(low=each, mid=each, high=each), devices, given("checkpoint", 1, "bytes"), Host(), reliability)


def test_llama_3_trains_more_than_nine_tenths_of_the_time() -> None:
    """Section 3.3.4: above 90 % on 16 384 H100, a failure about every three hours. 12 bytes per parameter are saved."""
    days = given("duration", 54 * 86_400, "s")
    reached = goodput(
        Band(low=days, mid=days, high=days), 16_384, given("checkpoint", 405e9 * 12, "bytes"), Host(), Reliability()
    )
    assert reached.mtbf_s.value / 3600 == pytest.approx(3.1, abs=0.05)
    assert 0.90 < reached.share.mid.value < 0.97


def test_failure_rates_are_the_papers() -> None:
    assert 1 / LLAMA3_RATE.value == pytest.approx(50_677, rel=1e-3)
    assert 1 / OPT_RATE.value == pytest.approx(13_831, rel=1e-3)


def test_without_failures_only_saving_costs() -> None:
    assert made(rate=1e-12, period_s=300).share.mid.value == pytest.approx(300 / 330, rel=1e-5)


def test_the_period_is_youngs_and_nearly_the_best() -> None:
    chosen = made()
    assert chosen.period_s.value == pytest.approx(sqrt(2 * 30 * 3600 / (2e-5 * 1024)))
    best = max(made(period_s=each).share.mid.value for each in range(60, 20_000, 20))
    assert chosen.share.mid.value == pytest.approx(best, rel=1e-4)


@given_(
    devices=st.integers(1, 50_000), checkpoint_s=st.floats(0.1, 600), rate=st.floats(1e-6, 1e-3), restart_s=st.floats(1, 7200)
)
def test_more_of_anything_bad_is_never_better(devices: int, checkpoint_s: float, rate: float, restart_s: float) -> None:
    base = made(devices, checkpoint_s=checkpoint_s, rate=rate, restart_s=restart_s, period_s=1800).share.mid.value
    assert 0 < base < 1
    for worse in (
        made(devices * 2, checkpoint_s=checkpoint_s, rate=rate, restart_s=restart_s, period_s=1800),
        made(devices, checkpoint_s=checkpoint_s * 2, rate=rate, restart_s=restart_s, period_s=1800),
        made(devices, checkpoint_s=checkpoint_s, rate=rate * 2, restart_s=restart_s, period_s=1800),
        made(devices, checkpoint_s=checkpoint_s, rate=rate, restart_s=restart_s * 2, period_s=1800),
    ):
        assert worse.share.mid.value <= base * (1 + 1e-12)


def test_a_hopeless_run_is_finite() -> None:
    assert 0 < made(10**9, rate=1.0).share.mid.value < 1e-10


def test_machines_write_their_parts_at_the_same_time(gpu_request: PlanRequest) -> None:
    one, sixteen = (plan(replace(gpu_request, mesh=Mesh(dp=each))).goodput.checkpoint_s.value for each in (8, 128))
    assert one == pytest.approx(16 * sixteen)


def test_the_band_is_in_order_and_in_every_report(gpu_request: PlanRequest) -> None:
    planned = plan(replace(gpu_request, mesh=Mesh(dp=64)))
    time = to_dict(planned)["time"]
    assert time["goodput"]["low"] < time["goodput"]["mid"] < time["goodput"]["high"] < 1
    for end, other in (("low", "high"), ("mid", "mid"), ("high", "low")):
        assert time["wall_clock_hours"][end] == pytest.approx(time["hours"][end] / time["goodput"][other])
    assert "wall clock" in to_text(planned)


def test_a_short_run_on_one_device_says_nothing_of_it(cpu_request: PlanRequest) -> None:
    assert "wall clock" not in to_text(plan(cpu_request))


@pytest.mark.parametrize(
    "wrong",
    [{"restart_s": (0, 1, 2)}, {"restart_s": (3, 2, 1)}, {"checkpoint_s": 0}, {"checkpoint_period_s": -1}],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Reliability(**wrong)  # type: ignore[arg-type]
