"""The shipped devices: sources, dense peaks, prices. Expected peaks are typed from the datasheets, not read from the files."""

from pathlib import Path

import pytest

from tuitrain_planners import Hardware, PlanError, find_hardware, load_hardware, preset_names
from tuitrain_planners.hardware import price_band

PRESETS = Path(__file__).parents[3] / "presets" / "hardware"
NAMES = preset_names(PRESETS)

DENSE_16_BIT = {
    "a10": 125e12, "a30": 165e12, "l40": 181.05e12, "rtx-a5000": 111.1e12, "mi210": 181e12, "a10g": 70e12, "a40": 149.7e12,
    "rtx-a6000": 154.8e12, "rtx-6000-ada": 364.2e12, "rtx-pro-6000": 503.8e12,
    "a100-40gb": 312e12, "a100-80gb": 312e12, "a800-80gb": 312e12, "l4": 121e12, "l40s": 362e12, "t4": 65e12,
    "v100-16gb": 125e12, "v100-32gb": 125e12, "h100-80gb": 989.4e12, "h800-80gb": 989.4e12, "h100-80gb-pcie": 756e12,
    "h100-94gb-nvl": 835.5e12, "h20-96gb": 148e12, "h200-141gb": 989.4e12, "gh200-96gb": 989.4e12, "b200-180gb": 2250e12,
    "b300-270gb": 2250e12, "gb200-186gb": 2500e12, "gb300-278gb": 2500e12, "mi250-gcd": 181e12, "mi250x-gcd": 191.5e12,
    "mi300x": 1307.4e12, "mi325x": 1307.4e12,
    "rtx-2060": 25.8e12, "rtx-2070": 29.9e12, "rtx-2080": 40.3e12, "rtx-2080-ti": 53.8e12, "rtx-3060": 25.5e12,
    "rtx-3070": 40.6e12, "rtx-3060-ti": 32.4e12, "rtx-3080-ti": 68.2e12, "rtx-3080": 59.5e12, "rtx-3080-12gb": 61.3e12,
    "rtx-3090": 71e12, "rtx-3090-ti": 80e12,
    "rtx-4060-ti-16gb": 44.1e12, "rtx-4070": 58.3e12, "rtx-4060": 30.2e12, "rtx-4070-super": 71e12, "rtx-4070-ti": 80.2e12,
    "rtx-4070-ti-super": 88.2e12, "rtx-4080": 97.5e12,
    "rtx-4080-super": 104.4e12, "rtx-4090": 165.2e12, "rtx-5060-ti-16gb": 47.4e12, "rtx-5070": 61.7e12,
    "rtx-5070-ti": 87.9e12, "rtx-5080": 112.6e12, "rtx-5090": 209.5e12,
}  # fmt: skip
"""fp16 products with fp32 accumulators, without sparsity."""

CORES_AND_GHZ = {
    "rtx-3060": (3584, 1.777), "rtx-3070": (5888, 1.725), "rtx-3060-ti": (4864, 1.665), "rtx-3080-ti": (10240, 1.665),
    "rtx-3080": (8704, 1.71), "rtx-3090": (10496, 1.695),
    "rtx-3090-ti": (10752, 1.86), "rtx-4060-ti-16gb": (4352, 2.535), "rtx-4070": (5888, 2.475), "rtx-4060": (3072, 2.46),
    "rtx-4070-super": (7168, 2.475), "rtx-4070-ti": (7680, 2.61),
    "rtx-4070-ti-super": (8448, 2.61), "rtx-4080": (9728, 2.505), "rtx-4080-super": (10240, 2.55), "rtx-4090": (16384, 2.52),
    "rtx-5060-ti-16gb": (4608, 2.572), "rtx-5070": (6144, 2.512), "rtx-5070-ti": (8960, 2.452), "rtx-5080": (10752, 2.617),
    "rtx-5090": (21760, 2.407),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_complete(name: str) -> None:
    device = find_hardware(PRESETS, name)
    assert "https://" in device.source
    assert device.peak_flop_per_s["fp32"]
    assert device.memory_bandwidth_bytes_per_s
    assert device.power_w
    if device.price_usd_per_hour is not None:
        assert "https://" in device.price_source
        assert "20" in device.price_source, "a price has a date"
    comment = next(line for line in (PRESETS / f"{name}.toml").read_text().splitlines() if line.startswith("memory_bytes"))
    assert "reports" in comment or "assumption:" in comment, "where the driver's total is from"


@pytest.mark.parametrize("name", NAMES)
def test_peaks_stand_in_the_ratios_of_dense_hardware(name: str) -> None:
    """One sparse figure among dense ones doubles a ratio."""
    peak = find_hardware(PRESETS, name).peak_flop_per_s
    if "fp16" in peak and "bf16" in peak:
        assert peak["bf16"] == peak["fp16"]
    if "fp8" in peak:
        assert peak["fp8"] / peak["bf16"] == pytest.approx(2, rel=0.02)
    if "tf32" in peak:
        assert peak["bf16"] / peak["tf32"] == pytest.approx(2, rel=0.02)
    assert peak.get("tf32", peak["fp32"]) >= 0.99 * peak["fp32"]


def test_every_tensor_core_peak_is_the_datasheets_dense_one() -> None:
    assert set(DENSE_16_BIT) == {each for each in NAMES if not each.startswith(("apple-", "cpu-")) and each not in UNCHECKED}
    for name, expected in DENSE_16_BIT.items():
        peaks = find_hardware(PRESETS, name).peak_flop_per_s
        assert peaks.get("bf16", peaks["fp16"]) == pytest.approx(expected, rel=0.005), name


UNCHECKED = {"a100-40gb-pcie", "a100-80gb-pcie", "h100-96gb-hbm2e"}
"""The same silicon as one that is checked."""


@pytest.mark.parametrize("name", CORES_AND_GHZ)
def test_geforce_cards_accumulate_at_half_their_headline(name: str) -> None:
    """With fp32 accumulators a core has 4 FLOP of tensor work per cycle: twice fp32, a quarter of the sparse figure."""
    cores, ghz = CORES_AND_GHZ[name]
    peaks = find_hardware(PRESETS, name).peak_flop_per_s
    assert peaks["fp32"] == pytest.approx(cores * 2 * ghz * 1e9, rel=0.01)
    assert peaks["bf16"] == pytest.approx(cores * 4 * ghz * 1e9, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_spot_is_never_dearer_than_on_demand(name: str) -> None:
    device = find_hardware(PRESETS, name)
    if device.spot_usd_per_hour is None:
        return
    assert device.price_usd_per_hour is not None
    for cheap, dear in zip(price_band(device.spot_usd_per_hour), price_band(device.price_usd_per_hour), strict=True):
        assert cheap <= dear


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_is_a_little_less_than_on_the_box(name: str) -> None:
    """An 80 GB card has neither 80e9 nor 80 * 2^30 bytes to offer; it is never more than the box says in GiB."""
    import re

    device = find_hardware(PRESETS, name)
    if (box := re.search(r"(\d+) GB", device.title)) is None:
        return
    low = 0.74 if name.startswith("apple-") else 0.92
    assert low * int(box[1]) * 2**30 <= device.memory_bytes <= int(box[1]) * 2**30


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("price_usd_per_hour = [1.49", "price_usd_per_hour = [9.49", "price_usd_per_hour"),
        ("price_usd_per_hour = [1.49, ", "price_usd_per_hour = [", "low, mid, high"),
        ("spot_usd_per_hour = [0.81, 2.25, 2.50]", "spot_usd_per_hour = 7.0", "above on demand"),
        ("price_source = ", "#", "price_source"),
    ],
)
def test_a_wrong_price_is_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = (PRESETS / "h100-80gb.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    with pytest.raises(PlanError) as caught:
        load_hardware(tmp_path / "mine.toml")
    assert words in str(caught.value)


def test_a_single_price_is_its_own_band() -> None:
    device = Hardware(name="x", kind="gpu", memory_bytes=1, source="a sheet", price_usd_per_hour=2.0, price_source="a list")
    assert device.price_usd_per_hour is not None
    assert price_band(device.price_usd_per_hour) == (2.0, 2.0, 2.0)
