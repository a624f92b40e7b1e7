"""The device a row names: a preset, or a variant of one that its vendor sells under another name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tuitrain_planners.hardware import Hardware
from tuitrain_planners.presets import find_hardware, preset_names
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.shapes_of_rows import NotComputableError

_GB: Final = 10**9
_BLACKWELL: Final = "NVIDIA GB200/GB300 NVL72 datasheets, 2024-2025: figures of the rack over 72 devices, dense"

VARIANTS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "a800": ("a100-80gb", {"link_bytes_per_s": 200e9, "source": "A100 with NVLink at 400 GB/s both ways together"}),
    "h800": ("h100-80gb", {"link_bytes_per_s": 200e9, "source": "H100 with NVLink at 400 GB/s both ways together"}),
    "h20": (
        "h100-80gb",
        {
            "memory_bytes": 96 * 2**30, "memory_bandwidth_bytes_per_s": 4.0e12, "power_w": 400,
            "peak_flop_per_s": {"bf16": 148e12, "fp16": 148e12, "fp8": 296e12, "tf32": 74e12, "fp32": 44e12},
            "source": "NVIDIA H20 product brief, 2023",
        },
    ),
    "gb200": (
        "b200-180gb",
        {
            "memory_bytes": 186 * _GB, "power_w": 1200,
            "peak_flop_per_s": {"bf16": 2.5e15, "fp16": 2.5e15, "fp8": 5e15, "fp4": 10e15, "tf32": 1.25e15, "fp32": 80e12},
            "source": _BLACKWELL,
        },
    ),
    "gb300": (
        "b200-180gb",
        {
            "memory_bytes": 278 * _GB, "power_w": 1400,
            "peak_flop_per_s": {"bf16": 2.5e15, "fp16": 2.5e15, "fp8": 5e15, "fp4": 15e15, "tf32": 1.25e15, "fp32": 80e12},
            "source": _BLACKWELL,
        },
    ),
    "b300": (
        "b200-180gb",
        {
            "memory_bytes": 268 * _GB, "power_w": 1100,
            "peak_flop_per_s": {"bf16": 2.25e15, "fp16": 2.25e15, "fp8": 4.5e15, "fp4": 13.5e15, "tf32": 1.1e15, "fp32": 75e12},
            "source": "NVIDIA HGX B300 datasheet, 2025: figures of the board over 8 devices, dense",
        },
    ),
    "a6000": (
        "a10",
        {
            "memory_bytes": 48 * 2**30, "memory_bandwidth_bytes_per_s": 768e9, "power_w": 300,
            "peak_flop_per_s": {"bf16": 154.8e12, "fp16": 154.8e12, "tf32": 77.4e12, "fp32": 38.7e12},
            "source": "NVIDIA RTX A6000 datasheet, 2020",
        },
    ),
}  # fmt: skip
"""Devices without a preset of their own: the preset they derive from, and what differs."""
RACKS: Final = {"gb200": 72, "gb300": 72}
"""Devices that share the fast links, where it is not a machine of eight."""

MACHINES: Final = (
    (
        r"bigscience|bloom",
        {"link_bytes_per_s": 100e9, "network_bytes_per_s": 6.25e9},
    ),
)  # fmt: skip
"""Machines of sources that describe theirs elsewhere than in the row. Jean Zay: four NVLinks of 25 GB/s from device to device, and
four Omni-Path links of 100 Gb/s for eight devices (Le Scao et al. 2022, BLOOM, https://arxiv.org/abs/2211.05100, section 3.4)."""

_NETWORK: Final = re.compile(r"(\d+)\s*x\s*(\d+)\s*Gb\b")
_POWER: Final = re.compile(r"\b(\d{3,4}) ?W\b")


def hardware_of(row: Row, presets: Path | None) -> tuple[Hardware, int]:
    """(device, devices that share fast links); NotComputableError where the row names none that is known."""
    name = row.text("gpu")
    if not name:
        raise NotComputableError("the device is not stated")
    if presets is None:
        raise NotComputableError("no hardware presets were given")
    known, plain = preset_names(presets), re.sub(r"[^a-z0-9]+", "-", name.lower())
    parts = plain.split("-")
    tag = next((each for each in parts if each in VARIANTS), "")
    if tag and not any(each.split("-")[0] == tag for each in known):
        base, changes = VARIANTS[tag]
        found = replace(find_hardware(presets, base), name=tag, title=name, **changes)
    else:
        found = find_hardware(presets, _preset_name(row, parts, known))
    return _as_stated(found, row), RACKS.get(tag, 8)


def _preset_name(row: Row, parts: list[str], known: list[str]) -> str:
    """The preset whose words all occur in the row's name; the one of its memory size where there are several."""
    memory = row.number("gpu_mem_gb")
    joined = "-".join(parts)
    matches = [each for each in known if each.split("-")[0] in parts or (each.startswith("rtx") and each in joined)]
    matches += ["a10"] if "a10g" in parts and "a10" in known else []
    matches = [each for each in matches if not each.startswith("rtx") or each in joined]
    if not matches:
        raise NotComputableError(f"the device {row.text('gpu')!r} has no preset")
    if memory is None:
        return matches[-1]
    return min(matches, key=lambda each: abs(_size(each) - memory))


def _size(preset: str) -> float:
    match = re.search(r"(\d+)gb", preset)
    return float(match[1]) if match else 0.0


def _as_stated(hardware: Hardware, row: Row) -> Hardware:
    """With the network and the power limit the row states, where it does."""
    changes: dict[str, Any] = {}
    where = f"{row.text('source')} {row.text('model')}".lower()
    for pattern, machine in MACHINES:
        if re.search(pattern, where):
            changes |= machine
    if match := _NETWORK.search(row.text("notes")):
        changes["network_bytes_per_s"] = int(match[1]) * int(match[2]) * 1e9 / 8 / 8
    if (match := _POWER.search(row.text("gpu"))) and hardware.power_w and float(match[1]) < hardware.power_w:
        # Power goes with the cube of the clock (frequency times voltage squared), so the clock with its cube root.
        slower = (float(match[1]) / hardware.power_w) ** (1 / 3)
        changes["power_w"] = float(match[1])
        changes["peak_flop_per_s"] = {dtype: peak * slower for dtype, peak in hardware.peak_flop_per_s.items()}
    return replace(hardware, **changes) if changes else hardware
