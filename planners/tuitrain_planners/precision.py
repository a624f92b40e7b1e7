"""Precision recipes: bytes per parameter and state, for the way the trainer of this project does it.

Mixed precision (Micikevicius et al. 2017, section 3.1) here means: 32-bit weights; a 16-bit copy of every matrix, made by the
forward pass and kept for the backward; 32-bit gradients, into which micro-batches add. Vectors (norm scales) stay in 32 bits.
With AdamW that is 4 + 2 + 4 + 8 = 18 bytes per matrix entry. The ZeRO paper's 16 (Rajbhandari et al. 2019, section 3.1) has
16-bit gradients.

A number is changed here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import unknown_name


@dataclass(frozen=True, kw_only=True, slots=True)
class StateBytes:
    """Bytes per parameter of each state, for one class of parameters."""

    weight: int
    """The weights the optimizer moves (the master weights in mixed precision)."""
    copy: int
    """The working copy the matrix products read; 0 when they read the weights themselves."""
    grad: int
    """Gradients as backward writes them; freed when the step is done."""
    main_grad: int
    """Extra sum of gradients over micro-batches; 0 when backward adds into `grad` itself. Held only while accumulating."""
    moment: int
    """One optimizer moment; AdamW holds two, Muon one."""
    master: int = 0
    """32-bit weights kept with the optimizer's states, where `weight` is in 16 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """One recipe."""

    name: str
    compute_bytes: int
    """Bytes per element of activations and of the matrix products' inputs."""
    peak_dtype: str
    """Whose peak in a hardware table applies."""
    matrix: StateBytes
    """States of embedding, head, attention and feed-forward matrices."""
    vector: StateBytes
    """States of norm scales and biases."""


_FP32_STATES: Final = StateBytes(weight=4, copy=0, grad=4, main_grad=0, moment=4)
_MIXED_STATES: Final = StateBytes(weight=4, copy=2, grad=4, main_grad=0, moment=4)
_BF16_STATES: Final = StateBytes(weight=2, copy=0, grad=2, main_grad=0, moment=2)

RECIPES: Final[dict[str, Precision]] = {
    "fp32": Precision(name="fp32", compute_bytes=4, peak_dtype="fp32", matrix=_FP32_STATES, vector=_FP32_STATES),
    "bf16-mixed": Precision(name="bf16-mixed", compute_bytes=2, peak_dtype="bf16", matrix=_MIXED_STATES, vector=_FP32_STATES),
    "fp16-mixed": Precision(name="fp16-mixed", compute_bytes=2, peak_dtype="fp16", matrix=_MIXED_STATES, vector=_FP32_STATES),
    "fp8-mixed": Precision(name="fp8-mixed", compute_bytes=2, peak_dtype="fp8", matrix=_MIXED_STATES, vector=_FP32_STATES),
    "bf16-pure": Precision(name="bf16-pure", compute_bytes=2, peak_dtype="bf16", matrix=_BF16_STATES, vector=_BF16_STATES),
}
"""fp8-mixed: products in 8 bits, whose inputs are cast on the fly; what is kept is kept as in bf16-mixed (torchao). Software
that keeps 8-bit copies of weights beside (TransformerEngine) needs 1 to 2 bytes more per matrix entry. bf16-pure: everything in
16 bits, moments too; half the memory, but small updates are lost to rounding."""


def recipe(name: str) -> Precision:
    """The recipe of that name."""
    if name not in RECIPES:
        raise unknown_name("precision", name, RECIPES)
    return RECIPES[name]


def precision_hint(dtypes: Iterable[str]) -> str:
    """What to do on a device that lists the peaks of these dtypes only."""
    listed = [each.name for each in RECIPES.values() if each.peak_dtype in set(dtypes)]
    known = (
        f"the preset lists the peaks of {', '.join(listed)}: choose one as the precision" if listed else "measure the machine"
    )
    return f"{known}, or name another hardware preset"
