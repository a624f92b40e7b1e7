"""Optimizers: moments per class of parameters, their bytes where they are not the recipe's, and what a step needs on top.

adamw            two moments, one fused kernel: no temporaries
adamw-foreach    the same in multi-tensor form: the square roots of all second moments stand at once
adamw-8bit       two moments of 8 bits, one 32-bit scale per block of 256 each (Dettmers et al. 2022)
adamw-paged      bitsandbytes' 32-bit moments, of 16-bit weights too, which the driver moves to host memory under pressure;
                 adamw-paged-8bit likewise
adafactor        the second moment as a row and a column in 32 bits, no first (Shazeer & Stern 2018); the step works on one
                 tensor at a time, and needs room for the largest
lion             one moment (Chen et al. 2023); lion-8bit of 8 bits
sgd              no moments; sgd-momentum has one
muon             one momentum for matrices in layers, AdamW for the rest (Jordan et al. 2024)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import unknown_name

FP32_BYTES: Final = 4
BLOCK: Final = 256
"""Entries of an 8-bit moment that share a scale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    """What one optimizer keeps."""

    name: str
    hidden_moments: int
    """Moments of matrices inside the layers."""
    other_moments: int
    """Moments of embedding, head and vectors."""
    orthogonalises: bool = False
    """Whether a step orthogonalises the matrices of one size as a batch (Muon), which needs room."""
    moment_bytes: float | None = None
    """Bytes of one moment of a matrix entry; None: as the precision recipe says."""
    factored: bool = False
    """Whether a matrix's moment is a row and a column."""
    largest_bytes: int = 0
    """Temporaries of a step per entry of the largest tensor, weights in 32 bits."""
    temporary_moments: int = 0
    """Moments' worth of temporaries that stand at once during a step."""
    paged: bool = False
    """Whether the driver may move moments to host memory: they count as being on the device until memory is short."""
    source: str = "zero2019"

    @property
    def quantised(self) -> bool:
        """Whether moments are in 8 bits, of tensors that are large enough."""
        return self.moment_bytes is not None and self.moment_bytes < FP32_BYTES


_EIGHT_BITS: Final = 1 + 4 / BLOCK

OPTIMIZERS: Final[dict[str, Optimizer]] = {
    "adamw": Optimizer(name="adamw", hidden_moments=2, other_moments=2),
    "adamw-foreach": Optimizer(name="adamw-foreach", hidden_moments=2, other_moments=2, temporary_moments=1),
    "adamw-8bit": Optimizer(
        name="adamw-8bit", hidden_moments=2, other_moments=2, moment_bytes=_EIGHT_BITS, source="dettmers2022"
    ),
    "adamw-paged": Optimizer(name="adamw-paged", hidden_moments=2, other_moments=2, moment_bytes=4, paged=True),
    "adamw-paged-8bit": Optimizer(
        name="adamw-paged-8bit", hidden_moments=2, other_moments=2, moment_bytes=_EIGHT_BITS, paged=True, source="dettmers2022"
    ),
    "adafactor": Optimizer(
        name="adafactor", hidden_moments=1, other_moments=1, moment_bytes=4, factored=True, largest_bytes=12,
        source="adafactor2018",
    ),
    "lion": Optimizer(name="lion", hidden_moments=1, other_moments=1, source="lion2023"),
    "lion-8bit": Optimizer(
        name="lion-8bit", hidden_moments=1, other_moments=1, moment_bytes=_EIGHT_BITS, source="dettmers2022"
    ),
    "sgd": Optimizer(name="sgd", hidden_moments=0, other_moments=0),
    "sgd-momentum": Optimizer(name="sgd-momentum", hidden_moments=1, other_moments=1),
    "muon": Optimizer(name="muon", hidden_moments=1, other_moments=2, orthogonalises=True, source="muon2024"),
}  # fmt: skip


def optimizer(name: str) -> Optimizer:
    """The optimizer of that name."""
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name]
