"""The device a row names: the preset whose words all occur in the name, of the memory size the row states; and what the row or
its source says of the machine around it."""

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

RACKS: Final[Mapping[str, int]] = {"gb200": 72, "gb300": 72}
"""Devices that share the fast links, where it is not a machine of eight (NVIDIA GB200 NVL72 and GB300 NVL72 datasheets)."""
FP4_PEAKS: Final[Mapping[str, float]] = {"b200": 9e15, "gb200": 10e15, "b300": 13.5e15, "gb300": 15e15}
"""Dense 4-bit peaks, FLOP/s: what a board or rack of them is rated for over their number (NVIDIA HGX and NVL72 datasheets)."""
MACHINES: Final = (
    (r"bigscience|bloom", {"link_bytes_per_s": 100e9, "network_bytes_per_s": 6.25e9}),
)  # fmt: skip
"""Machines of sources that describe theirs elsewhere than in the row. Jean Zay: four NVLinks of 25 GB/s between devices, four
Omni-Path links of 100 Gb/s for eight of them (Le Scao et al. 2022, BLOOM, https://arxiv.org/abs/2211.05100, section 3.4)."""

_ALIASES: Final = {"a10g": "a10", "a800": "a100", "h800": "h100"}
"""Nearest device where a name has no preset of its own: the same chip with slower links or a little less power."""
_NETWORK: Final = re.compile(r"(\d+)\s*x\s*(\d+)\s*Gb\b")
_POWER: Final = re.compile(r"\b(\d{3,4}) ?W\b")


def hardware_of(row: Row, presets: Path | None) -> tuple[Hardware, int]:
    """(device, devices that share fast links); NotComputableError where the row names none that is known."""
    name = row.text("gpu")
    if not name:
        raise NotComputableError("the device is not stated")
    if presets is None:
        raise NotComputableError("no hardware presets were given")
    words = [each for each in re.split(r"[^a-z0-9]+", name.lower()) if each]
    chosen = _choose(words, row.number("gpu_mem_gb"), preset_names(presets))
    chosen = chosen or _choose([_ALIASES.get(each, each) for each in words], row.number("gpu_mem_gb"), preset_names(presets))
    if chosen is None:
        raise NotComputableError(f"the device {name!r} has no preset")
    tag = chosen.split("-")[0]
    return _as_stated(find_hardware(presets, chosen), tag, row), RACKS.get(tag, 8)


def _choose(words: list[str], memory_gb: float | None, known: list[str]) -> str | None:
    """The preset whose words, memory sizes aside, are all in the name; the nearest in memory, then the most exact."""
    matches = [each for each in known if all(word in words for word in _words(each))]
    if not matches:
        return None
    stated = memory_gb or max((float(each[:-2]) for each in words if re.fullmatch(r"\d+gb", each)), default=None)
    return min(matches, key=lambda each: (abs(_size(each) - stated) if stated and _size(each) else 0, -len(_words(each)), each))


def _words(preset: str) -> list[str]:
    return [each for each in preset.split("-") if not re.fullmatch(r"\d+gb", each)]


def _size(preset: str) -> float:
    match = re.search(r"(\d+)gb", preset)
    return float(match[1]) if match else 0.0


def _as_stated(hardware: Hardware, tag: str, row: Row) -> Hardware:
    """With the machine, the network and the power limit that the row or its source states, where they do."""
    changes: dict[str, Any] = {}
    where = f"{row.text('source')} {row.text('model')}".lower()
    for pattern, machine in MACHINES:
        if re.search(pattern, where):
            changes |= machine
    if match := _NETWORK.search(row.text("notes")):  # so many cards of so many bits for the eight devices of a machine
        changes["network_bytes_per_s"] = int(match[1]) * int(match[2]) * 1e9 / 8 / 8
    if match := _POWER.search(row.text("gpu")):
        changes["power_w"] = float(match[1])
    if tag in FP4_PEAKS and "fp4" not in hardware.peak_flop_per_s:
        changes["peak_flop_per_s"] = {**hardware.peak_flop_per_s, "fp4": FP4_PEAKS[tag]}
    return replace(hardware, **changes) if changes else hardware
