"""Corrections from runs: medians, what is refused, and what they do to a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuitrain_planners import (
    Calibration,
    Hardware,
    PlanError,
    PlanRequest,
    Sample,
    calibrate,
    corrected,
    counted_peak_bytes,
    measured,
    plan,
    runtime_bytes,
)

MIB = 2**20


def sample(
    run: str = "a", *, width: int = 256, speed: float = 1.0, planned_mib: float = 600, measured_mib: float = 600, **more
):
    return Sample(
        run=run, hidden_size=width, planned_tokens_per_s=1000, measured_tokens_per_s=1000 * speed,
        planned_peak_bytes=planned_mib * MIB, runtime_bytes=500 * MIB, measured_peak_bytes=measured_mib * MIB, **more,
    )  # fmt: skip


def test_one_disturbed_run_among_three_changes_nothing() -> None:
    found = calibrate([sample("a", speed=0.9), sample("b", speed=0.1), sample("c", speed=0.92)])
    assert found.rates[256].factor == pytest.approx(0.9)
    assert found.rates[256].runs == ("a", "b", "c")
    assert found.rates[256].source == "measured: 3 runs on this machine"


def test_every_width_has_its_own_factor() -> None:
    found = calibrate([sample(width=64, speed=0.5), sample(width=1024, speed=1.2)])
    assert {width: each.factor for width, each in found.rates.items()} == {64: 0.5, 1024: 1.2}


def test_an_implausible_factor_is_refused_with_its_runs_and_the_rest_is_kept() -> None:
    found = calibrate([sample("slow", width=64, speed=0.2), sample("fine", width=256, speed=1.1)])
    assert list(found.rates) == [256]
    (refusal,) = found.refused
    assert refusal.runs == ("slow",)
    assert "0.2 times" in refusal.reason
    assert "width 64" in refusal.what


def test_small_runs_correct_the_runtime_and_large_ones_the_model() -> None:
    small = calibrate([sample(planned_mib=600, measured_mib=560)]).memory
    large = calibrate([sample(planned_mib=2500, measured_mib=2900)]).memory
    assert small is not None
    assert large is not None
    assert (small.factor, small.offset_bytes / MIB) == (1.0, pytest.approx(-40))
    assert (large.factor, large.offset_bytes) == (pytest.approx(1.2), 0.0)


def test_runs_of_different_sizes_tell_factor_and_offset_apart() -> None:
    sizes = {"a": 600, "b": 1500, "c": 2500, "d": 4000}
    runs = [sample(each, planned_mib=size, measured_mib=500 + 60 + 1.1 * (size - 500)) for each, size in sizes.items()]
    found = calibrate([*runs[:3], replace(runs[3], measured_peak_bytes=9000 * MIB), *runs[:1]]).memory
    assert found is not None
    assert found.factor == pytest.approx(1.1)
    assert found.offset_bytes / MIB == pytest.approx(60)


@pytest.mark.parametrize("measured_mib", [10_000, 700])
def test_implausible_memory_is_refused(measured_mib: float) -> None:
    found = calibrate([sample(planned_mib=2500, measured_mib=measured_mib)])
    assert found.memory is None
    assert [each.what for each in found.refused] == ["peak memory"]


def test_power_needs_a_rating_and_a_measurement() -> None:
    assert calibrate([sample(rated_power_w=700), sample(measured_power_w=300)]).power is None
    found = calibrate([sample(rated_power_w=700.0, measured_power_w=490.0)]).power
    assert found is not None
    assert found.factor == pytest.approx(0.7)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_no_run_and_impossible_numbers_are_errors(value: float) -> None:
    with pytest.raises(PlanError, match="no finished run"):
        calibrate([])
    with pytest.raises(PlanError, match="measured_tokens_per_s"):
        calibrate([sample(speed=value)])


def test_the_corrected_plan_gives_what_was_measured(cpu_request: PlanRequest) -> None:
    before = plan(cpu_request)
    speed, peak = before.throughput.tokens_per_s.value, before.memory.device_bytes.mid.value
    run = Sample(
        run="a", hidden_size=cpu_request.shape.hidden_size, planned_tokens_per_s=speed, measured_tokens_per_s=speed * 0.8,
        planned_peak_bytes=peak, runtime_bytes=runtime_bytes(before.memory), measured_peak_bytes=peak + 50 * MIB,
    )  # fmt: skip
    found = calibrate([run])
    device = corrected(cpu_request.hardware, found)
    after = plan(replace(cpu_request, hardware=device))
    assert after.throughput.tokens_per_s.value == pytest.approx(speed * 0.8)
    assert counted_peak_bytes(after.memory, device) == pytest.approx(peak + 50 * MIB)
    explained = after.throughput.tokens_per_s.explain() + after.memory.device_bytes.mid.explain()
    assert explained.count("measured: 1 run on this machine") >= 3


def test_on_a_gpu_the_allocated_bytes_are_corrected(gpu_request: PlanRequest) -> None:
    device = replace(gpu_request.hardware, power_w=400.0)
    before = plan(replace(gpu_request, hardware=device))
    peak = counted_peak_bytes(before.memory, device)
    assert peak == before.memory.step.peak.value
    run = replace(
        sample(width=768), planned_peak_bytes=peak, measured_peak_bytes=peak * 1.05, runtime_bytes=runtime_bytes(before.memory),
        rated_power_w=400.0, measured_power_w=200.0,
    )  # fmt: skip
    changed = corrected(device, Calibration(rates={}, memory=calibrate([run]).memory, power=calibrate([run]).power))
    after = plan(replace(gpu_request, hardware=changed))
    assert counted_peak_bytes(after.memory, changed) == pytest.approx(peak * 1.05)
    assert after.kwh is not None
    assert before.kwh is not None
    assert after.kwh.mid.value == pytest.approx(before.kwh.mid.value * 0.5 / 0.76)


def test_rates_and_their_explanation_agree_at_every_width() -> None:
    laptop: Hardware = measured(memory_bytes=8 * 2**30, rates=[(1024, 200e9), (256, 100e9)])
    found = calibrate([sample(width=64, speed=0.5), sample(width=512, speed=1.3)])
    device = corrected(laptop, found)
    from tuitrain_planners.hardware import interpolated_rate

    assert [width for width, _ in device.rates] == [64, 256, 512, 1024]
    plain = replace(device, rate_correction=None)
    for width in (32, 64, 100, 256, 300, 512, 900, 2048):
        assert interpolated_rate(device, width)[0].value == pytest.approx(interpolated_rate(plain, width)[0].value)
    assert interpolated_rate(device, 64)[1] == ""
    assert dict(device.rates)[1024] == pytest.approx(200e9 * 1.3)
