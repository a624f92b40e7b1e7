"""Hardware and speed: presets, measured curves, step times, utilisation."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain_planners import (
    Hardware,
    PlanError,
    PlanRequest,
    find_hardware,
    flop_per_token,
    load_hardware,
    measured,
    plan,
    preset_names,
)
from tuitrain_planners.hardware import interpolated_rate


def test_every_shipped_preset_loads_and_names_its_source(hardware_presets: Path) -> None:
    names = preset_names(hardware_presets)
    assert {"h100-80gb", "a100-80gb", "a100-40gb", "rtx-4090", "rtx-3090", "l4"} <= set(names)
    for name in names:
        device = find_hardware(hardware_presets, name)
        assert "https://" in device.source
        assert device.power_w
        assert device.memory_bandwidth_bytes_per_s


@pytest.mark.parametrize(
    ("name", "sparse"), [("h100-80gb", 1979e12), ("a100-80gb", 624e12), ("rtx-4090", 330.3e12), ("l4", 242e12)]
)
def test_peaks_are_dense(name: str, sparse: float, hardware_presets: Path) -> None:
    """NVIDIA prints the sparse figure: twice the dense one."""
    assert find_hardware(hardware_presets, name).peak_flop_per_s["bf16"] == pytest.approx(sparse / 2, rel=2e-3)


def test_an_unknown_device_names_the_nearest(hardware_presets: Path) -> None:
    with pytest.raises(PlanError) as caught:
        find_hardware(hardware_presets, "h100")
    assert "'h100-80gb'" in caught.value.hint


def test_a_wrong_prior_or_dtype_is_refused(hardware_presets: Path, tmp_path: Path) -> None:
    text = (hardware_presets / "l4.toml").read_text()
    for old, new, words in (
        ("mid = 0.4", "mid = 0.6", "rising order"),
        ("bf16 =", "bf61 =", "no such dtype bf61"),
        ("low =", "lo =", "mfu_prior needs"),
    ):
        path = tmp_path / "mine.toml"
        path.write_text(text.replace(old, new))
        with pytest.raises(PlanError) as caught:
            load_hardware(path)
        assert words in str(caught.value)


@given(width=st.integers(256, 1024))
def test_the_rate_is_a_straight_line_in_logarithms(width: int) -> None:
    device = measured(memory_bytes=1e9, rates=[(256, 100e9), (1024, 200e9)])
    rate, warning = interpolated_rate(device, width)
    assert rate.value == pytest.approx(100e9 * (width / 256) ** 0.5, rel=1e-9)
    assert warning == ""


@pytest.mark.parametrize(("width", "rate", "end"), [(64, 100e9, "narrowest"), (4096, 200e9, "widest")])
def test_beyond_the_ends_the_rate_is_clamped_and_says_so(width: int, rate: float, end: str, laptop: Hardware) -> None:
    found, warning = interpolated_rate(laptop, width)
    assert found.value == rate
    assert end in warning


def test_a_curve_must_rise_in_width() -> None:
    with pytest.raises(PlanError, match="rates"):
        measured(memory_bytes=1e9, rates=[(256, 1e9), (256, 2e9)])
    with pytest.raises(PlanError, match="no measured rate"):
        measured(memory_bytes=1e9, rates=[])


def test_step_time_is_flop_over_rate(cpu_request: PlanRequest) -> None:
    speed = plan(replace(cpu_request, recompute="none")).throughput
    flop = flop_per_token(cpu_request.shape, 256).value
    assert speed.step_s.value == pytest.approx(flop * 256 * 16 / 100e9, rel=1e-12)
    assert speed.tokens_per_s.value == pytest.approx(100e9 / flop, rel=1e-12)
    assert speed.mfu is not None
    assert speed.mfu.value == pytest.approx(100e9 / 400e9, rel=1e-12)


def test_recomputation_costs_a_third_of_the_layers_and_no_utilisation_is_won(cpu_request: PlanRequest) -> None:
    none, full = (plan(replace(cpu_request, recompute=each)) for each in ("none", "full"))
    layers = sum(each.value for each in none.flop_per_token.terms if each.name != "head")
    expected = 1 + layers / 3 / none.flop_per_token.value
    assert full.throughput.step_s.value / none.throughput.step_s.value == pytest.approx(expected, rel=1e-12)
    assert full.throughput.mfu is not None
    assert none.throughput.mfu is not None
    assert full.throughput.mfu.value < none.throughput.mfu.value


def test_a_peak_without_a_bandwidth_runs_at_the_prior(gpu_request: PlanRequest) -> None:
    prior, device = gpu_request.hardware.mfu_prior, replace(gpu_request.hardware, memory_bandwidth_bytes_per_s=None)
    speed = plan(replace(gpu_request, hardware=device, convention=prior.convention)).throughput
    assert speed.mfu is not None
    assert speed.mfu.value == pytest.approx(prior.mid, rel=1e-12)
    assert speed.duration_s.low.value < speed.duration_s.mid.value < speed.duration_s.high.value
    assert speed.duration_s.high.value / speed.duration_s.low.value == pytest.approx(prior.high / prior.low, rel=1e-12)


def test_a_cpu_nobody_measured_cannot_be_timed(cpu_request: PlanRequest) -> None:
    unknown = Hardware(name="box", kind="cpu", memory_bytes=1e10, source="given")
    with pytest.raises(PlanError, match="does not compute in bf16"):
        plan(replace(cpu_request, hardware=unknown))


def test_without_a_peak_there_is_no_utilisation(cpu_request: PlanRequest) -> None:
    device = measured(memory_bytes=8e9, rates=[(256, 1e11)])
    assert plan(replace(cpu_request, hardware=device)).throughput.mfu is None
