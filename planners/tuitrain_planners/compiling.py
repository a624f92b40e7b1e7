"""What torch.compile gains. Narrow models gain most: there the time goes into many small operations, which compiling fuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class CompileGain:
    """How many times faster a compiled training step is than an eager one, by width."""

    curve: tuple[tuple[int, float], ...]
    """(hidden size, gain), widths rising."""
    spread: float
    """Share by which a gain may be off either way."""
    source: str
    """Which measurements, or `assumption: ...`."""

    def with_measured(self, gains: Mapping[int, float], spread: float, source: str) -> CompileGain:
        """The same with a machine's own gains at the widths it has met; their source and spread are then the curve's."""
        if not gains:
            return self
        curve = tuple(sorted({**dict(self.curve), **gains}.items()))
        return CompileGain(curve=curve, spread=spread, source=source)


CPU_COMPILE_GAIN: Final = CompileGain(
    curve=((64, 2.51), (128, 1.59), (256, 1.33), (384, 1.18), (512, 1.17)),
    spread=0.25,
    source="measured on 2 cores of an AMD EPYC with torch 2.13 (benchmarks/results/compile_gain.json); other machines differ",
)
