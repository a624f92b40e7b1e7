"""Spellings of devices in published tables and drivers, and the presets they are."""

from pathlib import Path

import pytest

from tuitrain_planners import PlanError, find_device, preset_names
from tuitrain_planners.device_names import BY_MEMORY, NAMES


def test_every_preset_has_a_name_and_every_name_a_preset(hardware_presets: Path) -> None:
    names = preset_names(hardware_presets)
    assert sorted(NAMES) == names
    assert {each for sizes in BY_MEMORY.values() for each in sizes.values()} <= set(names)
    for name in names:
        assert find_device(name) == name


@pytest.mark.parametrize(
    ("text", "memory_gb", "preset"),
    [
        ("A100-SXM-80GB", None, "a100-80gb"),
        ("NVIDIA A100-SXM4-80GB", 80, "a100-80gb"),
        ("A100 40GB", None, "a100-40gb"),
        ("A100-40GB", 40, "a100-40gb"),
        ("A100 80G", None, "a100-80gb"),
        ("A100", 80, "a100-80gb"),
        ("NVIDIA A100-PCIE-40GB", None, "a100-40gb-pcie"),
        ("NVIDIA A100 80GB PCIe", None, "a100-80gb-pcie"),
        ("H100", 80, "h100-80gb"),
        ("H100-80GB (DGX)", 80, "h100-80gb"),
        ("NVIDIA H100 80GB HBM3", None, "h100-80gb"),
        ("H100 SXM 96GB HBM2e 500W", 96, "h100-96gb-hbm2e"),
        ("H100 SXM 94-96GB HBM2e 500W", 96, "h100-96gb-hbm2e"),
        ("NVIDIA H100 NVL", None, "h100-94gb-nvl"),
        ("A10G", 24, "a10g"),
        ("rtx 4090", 24, "rtx-4090"),
        ("NVIDIA GeForce RTX 2080 Ti", None, "rtx-2080-ti"),
        ("RTX A6000", 48, "rtx-a6000"),
        ("V100-SXM2-16GB", 16, "v100-16gb"),
        ("Tesla T4", None, "t4"),
        ("NVIDIA B300 SXM6 AC", None, "b300-270gb"),
        ("GB300", 278, "gb300-278gb"),
        ("AMD Instinct MI300X", None, "mi300x"),
    ],
)
def test_a_spelling_is_one_preset(text: str, memory_gb: float | None, preset: str) -> None:
    assert find_device(text, memory_gb) == preset


@pytest.mark.parametrize(("text", "memory_gb"), [("A100", None), ("H100", None), ("V100", 24), ("RTX 3080", None)])
def test_an_ambiguous_name_asks_for_the_memory(text: str, memory_gb: float | None) -> None:
    with pytest.raises(PlanError, match="is not one device") as caught:
        find_device(text, memory_gb)
    assert "GB is" in caught.value.hint


def test_an_unknown_device_names_the_nearest() -> None:
    with pytest.raises(PlanError, match="unknown device 'RTX 4095'") as caught:
        find_device("RTX 4095")
    assert "'rtx-4090'" in caught.value.hint
    with pytest.raises(PlanError, match="unknown device"):
        find_device("")
