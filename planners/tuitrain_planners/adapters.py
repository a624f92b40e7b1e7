"""Adapter: low-rank matrices beside frozen ones (LoRA, Hu et al. 2021), and in which form the frozen ones are kept (QLoRA).

A target is one matrix of each layer, by its short name, or the output head. An adapter of rank r on a matrix of m x n has
r * (m + n) parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import PlanError, unknown_name

TARGETS: Final = ("q", "k", "v", "o", "gate", "up", "down", "head")
ALL_LINEAR: Final = ("q", "k", "v", "o", "gate", "up", "down")
"""Every matrix of the layers: what peft's `all-linear` adapts."""
BASES: Final[dict[str, tuple[float, str]]] = {
    "fp32": (4.0, "definition"),
    "16bit": (2.0, "definition"),
    "int8": (1.0, "bitsandbytes LLM.int8(): one byte, and 4 bytes per row that are counted with the runtime"),
    "nf4": (0.5 + 4 / 64, "Dettmers et al. (2023), section 3: 4 bits, and one 32-bit scale per block of 64"),
    "nf4-dq": (
        0.5 + 1 / 64 + 4 / (64 * 256),
        "Dettmers et al. (2023), section 3: scales in 8 bits, and one 32-bit scale per 256 of them",
    ),
    "int8-gptq": (1 + 2 / 128 + 1 / 128, "GPTQ: 8 bits; per group of 128 a 16-bit scale and an 8-bit zero"),
    "int4-gptq": (0.5 + 2 / 128 + 0.5 / 128, "GPTQ: 4 bits; per group of 128 a 16-bit scale and a 4-bit zero"),
}
"""Bytes per frozen parameter of the layers' matrices, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """What is trained beside a frozen model."""

    rank: int = 16
    targets: tuple[str, ...] = ALL_LINEAR
    dropout: bool = False
    """Whether adapters drop inputs out: each then keeps a copy and a mask of its own."""
    weight_bytes: int = 4
    """Bytes of an adapter's weight; peft keeps them in 32 bits beside a 16-bit base."""
    base: str = "16bit"
    """A key of BASES: how the frozen matrices of the layers are kept."""
    ends_in_int8: bool = False
    """Whether embedding and head are kept in 8 bits with a 32-bit scale per row; norms never are."""
    trains_ends: bool = False
    """Whether embedding and head are trained whole beside the adapters, in copies of their own (peft's modules_to_save)."""
    rest_in_fp32: bool = False
    """Whether embedding, head and norms are widened to 32 bits (peft's prepare_model_for_kbit_training)."""

    @property
    def rest_bytes(self) -> int:
        """Bytes of a frozen parameter outside the layers' matrices."""
        return 4 if self.rest_in_fp32 or self.base == "fp32" else 2

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise PlanError(f"adapter rank {self.rank}", "at least 1")
        if not self.targets:
            raise PlanError("an adapter without targets", f"some of {', '.join(TARGETS)}")
        for target in self.targets:
            if target not in TARGETS:
                raise unknown_name("adapter target", target, TARGETS)
        if self.base not in BASES:
            raise unknown_name("base of an adapter", self.base, BASES)
        if self.weight_bytes not in (2, 4):
            raise PlanError(f"adapters of {self.weight_bytes} bytes per weight", "2 or 4")
