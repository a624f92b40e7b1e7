"""Names of devices as tables, drivers and papers spell them, and the preset each one is.

A strict table: case, spaces, hyphens and the maker's name do not matter, anything else must be a spelling listed here. What
several presets could be (`A100`) is decided by the memory that stands beside it, or not at all.
"""

from __future__ import annotations

import re
from typing import Final

from tuitrain_planners.errors import PlanError

_MAKERS: Final = frozenset({"nvidia", "geforce", "tesla", "quadro", "amd", "instinct", "intel", "gpu"})
_WORD: Final = re.compile(r"[a-z0-9]+")
_SIZE: Final = re.compile(r"(\d)\s*gi?b?\b")

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "a10": ("A10 24GB",),
    "a10g": ("A10G 24GB",),
    "a30": ("A30 24GB",),
    "a40": ("A40 48GB",),
    "a100-40gb": ("A100-SXM-40GB", "A100-SXM4-40GB", "A100 40GB SXM", "A100 40GB SXM4"),
    "a100-40gb-pcie": ("A100-PCIE-40GB", "A100-PCI-40GB"),
    "a100-80gb": ("A100-SXM-80GB", "A100-SXM4-80GB", "A100 80GB SXM", "A100 80GB SXM4"),
    "a100-80gb-pcie": ("A100-PCIE-80GB", "A100-PCI-80GB"),
    "a800-80gb": ("A800", "A800-SXM4-80GB", "A800 SXM4 80GB"),
    "b200-180gb": ("B200", "HGX B200", "DGX B200", "B200 192GB"),
    "b300-270gb": ("B300", "HGX B300", "B300 SXM6 AC", "B300 288GB"),
    "gb200-186gb": ("GB200", "GB200 NVL72", "GB200 192GB"),
    "gb300-278gb": ("GB300", "GB300 NVL72", "GB300 279GB", "GB300 288GB"),
    "gh200-96gb": ("GH200", "GH200 480GB", "GH200 120GB"),
    "h20-96gb": ("H20",),
    "h100-80gb": (
        "H100-SXM-80GB", "H100-SXM5-80GB", "H100 80GB SXM", "H100 80GB SXM5", "H100 SXM", "H100 SXM5", "H100 80GB HBM3",
        "H100-80GB (DGX)", "H100-80GB 700W", "DGX H100", "HGX H100",
    ),
    "h100-80gb-pcie": ("H100 PCIe", "H100-PCIE-80GB"),
    "h100-94gb-nvl": ("H100 NVL", "H100 NVL 94GB"),
    "h100-96gb-hbm2e": (
        "H100 96GB", "H100 96GB HBM2e 500W", "H100 SXM 96GB HBM2e", "H100 SXM 96GB HBM2e 500W", "H100 SXM 94-96GB HBM2e 500W",
    ),
    "h200-141gb": ("H200", "H200-SXM-141GB", "H200 SXM", "H200 SXM5", "H200 HBM3e"),
    "h800-80gb": ("H800", "H800 SXM", "H800-SXM5-80GB", "H800 80GB HBM3"),
    "l4": ("L4 24GB",),
    "l40": ("L40 48GB",),
    "l40s": ("L40S 48GB",),
    "mi210": ("MI210 64GB",),
    "mi250-gcd": ("MI250 GCD",),
    "mi250x-gcd": ("MI250X GCD",),
    "mi300x": ("MI300X 192GB", "MI300X OAM"),
    "mi325x": ("MI325X 256GB", "MI325X OAM"),
    "rtx-2060": ("RTX 2060 6GB",),
    "rtx-2070": ("RTX 2070 8GB",),
    "rtx-2080": ("RTX 2080 8GB",),
    "rtx-2080-ti": ("RTX 2080 Ti 11GB",),
    "rtx-3060": ("RTX 3060 12GB",),
    "rtx-3060-ti": ("RTX 3060 Ti 8GB",),
    "rtx-3070": ("RTX 3070 8GB",),
    "rtx-3080": ("RTX 3080 10GB",),
    "rtx-3080-12gb": (),
    "rtx-3080-ti": ("RTX 3080 Ti 12GB",),
    "rtx-3090": ("RTX 3090 24GB",),
    "rtx-3090-ti": ("RTX 3090 Ti 24GB",),
    "rtx-4060": ("RTX 4060 8GB",),
    "rtx-4060-ti-16gb": (),
    "rtx-4070": ("RTX 4070 12GB",),
    "rtx-4070-super": ("RTX 4070 SUPER 12GB",),
    "rtx-4070-ti": ("RTX 4070 Ti 12GB",),
    "rtx-4070-ti-super": ("RTX 4070 Ti SUPER 16GB",),
    "rtx-4080": ("RTX 4080 16GB",),
    "rtx-4080-super": ("RTX 4080 SUPER 16GB",),
    "rtx-4090": ("RTX 4090 24GB",),
    "rtx-5060-ti-16gb": (),
    "rtx-5070": ("RTX 5070 12GB",),
    "rtx-5070-ti": ("RTX 5070 Ti 16GB",),
    "rtx-5080": ("RTX 5080 16GB",),
    "rtx-5090": ("RTX 5090 32GB",),
    "rtx-6000-ada": ("RTX 6000 Ada Generation", "6000 Ada", "RTX 6000 Ada 48GB"),
    "rtx-a5000": ("A5000", "RTX A5000 24GB", "A5000 24GB"),
    "rtx-a6000": ("A6000", "RTX A6000 48GB", "A6000 48GB"),
    "rtx-pro-6000": (
        "RTX PRO 6000 Blackwell", "RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell Server Edition",
        "RTX PRO 6000 96GB",
    ),
    "t4": ("T4 16GB",),
    "v100-16gb": ("V100-SXM2-16GB", "V100 SXM 16GB"),
    "v100-32gb": ("V100-SXM2-32GB", "V100-SXM3-32GB", "V100 SXM 32GB"),
    "apple-m1-max": ("M1 Max",),
    "apple-m1-ultra": ("M1 Ultra",),
    "apple-m2-max": ("M2 Max",),
    "apple-m2-ultra": ("M2 Ultra",),
    "apple-m3-max": ("M3 Max",),
    "apple-m3-ultra": ("M3 Ultra",),
    "apple-m4-max": ("M4 Max",),
    "cpu-epyc-9654": ("EPYC 9654",),
    "cpu-ryzen-7950x": ("Ryzen 9 7950X",),
    "cpu-xeon-8480": ("Xeon Platinum 8480+", "Xeon 8480"),
}  # fmt: skip
"""Spellings of each preset besides its own name."""

BY_MEMORY: Final[dict[str, dict[int, str]]] = {
    "A100": {40: "a100-40gb", 80: "a100-80gb"},
    "A100 PCIe": {40: "a100-40gb-pcie", 80: "a100-80gb-pcie"},
    "A100 SXM": {40: "a100-40gb", 80: "a100-80gb"},
    "A100 SXM4": {40: "a100-40gb", 80: "a100-80gb"},
    "H100": {80: "h100-80gb", 94: "h100-94gb-nvl", 96: "h100-96gb-hbm2e"},
    "RTX 3080": {10: "rtx-3080", 12: "rtx-3080-12gb"},
    "RTX 4060 Ti": {16: "rtx-4060-ti-16gb"},
    "RTX 5060 Ti": {16: "rtx-5060-ti-16gb"},
    "V100 SXM2": {16: "v100-16gb", 32: "v100-32gb"},
    "V100": {16: "v100-16gb", 32: "v100-32gb"},
}
"""What a name is with so many GB. Where a table gives no form factor, it is the module (SXM): cards say PCIe."""


def find_device(text: str, memory_gb: float | None = None) -> str:
    """The hardware preset a spelling means: `A100-SXM4-80GB`, `H100 SXM 96GB HBM2e 500W`, `RTX 4090`.

    `memory_gb`, the size on the box, decides between the presets of an ambiguous name; PlanError where it does not, or where
    the name is not known.
    """
    if text in NAMES:
        return text
    key = _folded(text)
    if sizes := _FAMILIES.get(key):
        if memory_gb is not None and (found := sizes.get(round(memory_gb))):
            return found
        said = "" if memory_gb is None else f" with {memory_gb:g} GB"
        choices = ", ".join(f"{size} GB is {name}" for size, name in sizes.items())
        raise PlanError(f"{text!r}{said} is not one device", f"say how much memory it has: {choices}")
    if key not in _PRESETS:
        raise _unknown(text)
    return _PRESETS[key]


def _unknown(text: str) -> PlanError:
    """The nearest of all spellings; the presets are too many to list."""
    import difflib

    spellings = {each.lower(): preset for preset, names in NAMES.items() for each in (preset, *names)}
    near = dict.fromkeys(spellings[each] for each in difflib.get_close_matches(text.lower(), spellings, n=3, cutoff=0.5))
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"one of the {len(NAMES)} presets in presets/hardware"
    return PlanError(f"unknown device {text!r}", hint)


def _folded(text: str) -> str:
    """Case, separators and makers gone, sizes in GB: `NVIDIA A100-SXM4-80G` is a100sxm480gb."""
    sized = _SIZE.sub(r"\1gb", text.lower())
    return "".join(word for word in _WORD.findall(sized) if word not in _MAKERS)


_FAMILIES: Final = {_folded(name): sizes for name, sizes in BY_MEMORY.items()}
_PRESETS: Final = {_folded(each): preset for preset, spellings in NAMES.items() for each in (preset, *spellings)} | {
    _folded(f"{name} {size}GB"): preset for name, sizes in BY_MEMORY.items() for size, preset in sizes.items()
}
