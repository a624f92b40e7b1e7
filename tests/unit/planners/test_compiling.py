"""What torch.compile adds to a plan: speed by a measured gain, memory by the compiler."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tuitrain_planners import CPU_COMPILE_GAIN, CompileGain, PlanRequest, plan, tokens_for

GAIN = CompileGain(curve=((128, 2.0), (256, 1.5), (1024, 1.2)), spread=0.25, source="measured: somewhere")


@pytest.fixture
def both(cpu_request: PlanRequest) -> tuple[PlanRequest, PlanRequest]:
    """(eager, compiled) on a device that knows its gain."""
    eager = replace(cpu_request, hardware=replace(cpu_request.hardware, compile_gain=GAIN))
    return eager, replace(eager, compiled=True)


def test_a_compiled_run_is_faster_by_the_gain_at_its_width(both: tuple[PlanRequest, PlanRequest]) -> None:
    eager, compiled = (plan(each).throughput for each in both)
    assert compiled.tokens_per_s.value == pytest.approx(1.5 * eager.tokens_per_s.value)
    assert compiled.mfu is not None
    assert eager.mfu is not None
    assert compiled.mfu.value == pytest.approx(1.5 * eager.mfu.value)


def test_the_gain_is_in_the_explanation_with_its_source(both: tuple[PlanRequest, PlanRequest]) -> None:
    told = plan(both[1]).throughput.tokens_per_s.explain()
    assert "gain from compiling at width 256" in told
    assert "measured: somewhere" in told


def test_the_spread_of_the_gain_widens_the_band(both: tuple[PlanRequest, PlanRequest]) -> None:
    eager, compiled = (plan(each).throughput.duration_s for each in both)
    assert eager.high.value / eager.mid.value == pytest.approx(1 / 0.9)
    assert compiled.high.value / compiled.mid.value == pytest.approx(1 / 0.75)


def test_a_time_budget_affords_more_tokens(both: tuple[PlanRequest, PlanRequest]) -> None:
    eager, compiled = (tokens_for(each, 600).value for each in both)
    assert compiled / eager == pytest.approx(1.5, rel=0.02)


def test_an_unknown_gain_is_said_and_counts_as_none(cpu_request: PlanRequest) -> None:
    eager, compiled = plan(cpu_request), plan(replace(cpu_request, compiled=True))
    assert compiled.throughput.tokens_per_s.value == eager.throughput.tokens_per_s.value
    assert any("compiling" in each for each in compiled.warnings)
    assert not any("compiling" in each for each in eager.warnings)


def test_the_compiler_stays_in_memory(both: tuple[PlanRequest, PlanRequest]) -> None:
    eager, compiled = (plan(each).memory for each in both)
    more = compiled.step.peak.value - eager.step.peak.value
    assert more > 100 * 2**20
    for name in ("low", "mid", "high"):
        assert getattr(compiled.device_bytes, name).value - getattr(eager.device_bytes, name).value == pytest.approx(more)
    assert "compiler" in compiled.step.peak.explain()


def test_own_gains_replace_published_ones_where_they_were_met() -> None:
    own = CPU_COMPILE_GAIN.with_measured({256: 1.7, 200: 1.8}, 0.15, "measured: here")
    assert dict(own.curve)[256] == 1.7
    assert dict(own.curve)[200] == 1.8
    assert [width for width, _ in own.curve] == sorted(width for width, _ in own.curve)
    assert dict(own.curve)[64] == dict(CPU_COMPILE_GAIN.curve)[64]
    assert (own.spread, own.source) == (0.15, "measured: here")
    assert CPU_COMPILE_GAIN.with_measured({}, 0.15, "measured: here") is CPU_COMPILE_GAIN


def test_the_published_curve_is_the_benchmarks_result() -> None:
    kept = json.loads((Path(__file__).parents[3] / "benchmarks" / "results" / "compile_gain.json").read_text())
    curve = dict(CPU_COMPILE_GAIN.curve)
    assert {width: round(gain, 2) for width, gain in kept["gain_by_width"]} == curve
