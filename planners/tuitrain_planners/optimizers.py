"""Optimizers: moments per class of parameters, and what a step needs on top.

Bytes per moment belong to the precision recipe; here only the number of moments. AdamW keeps two. Muon (Jordan et al. 2024)
keeps one momentum for matrices inside the layers and hands embedding, head and vectors to AdamW.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import unknown_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    """What one optimizer keeps."""

    name: str
    hidden_moments: int
    """Moments of matrices inside the layers."""
    other_moments: int
    """Moments of embedding, head and vectors."""
    orthogonalises: bool
    """Whether a step orthogonalises the matrices of one size as a batch (Muon), which needs room; fused AdamW needs none."""


OPTIMIZERS: Final[dict[str, Optimizer]] = {
    "adamw": Optimizer(name="adamw", hidden_moments=2, other_moments=2, orthogonalises=False),
    "muon": Optimizer(name="muon", hidden_moments=1, other_moments=2, orthogonalises=True),
}


def optimizer(name: str) -> Optimizer:
    """The optimizer of that name."""
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name]
