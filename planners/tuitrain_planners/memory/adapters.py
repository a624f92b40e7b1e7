"""LoRA in memory: entries of the adapters, and which inputs of adapted matrices are kept in which form.

A frozen matrix needs its input for nothing; an adapter beside it does, since its own gradient reads it. So the input of every
adapted matrix stays - once for all that read it when adapters compute in its own precision, once for each of them when peft
first casts it (32-bit adapters beside a 16-bit model; 16-bit casts under autocast) or drops some of it out. The adapter's inner
vector of r stays too. (Hu et al. 2021; op-level traces of transformers' Llama with peft: 22.5, 18.0, 36.1 and 26.6 copies of h
per layer for 16-bit adapters, the same on q and v alone, 32-bit adapters, and those under autocast.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.parameters import adapter_parameters
from tuitrain_planners.shapes import ModelShape

INPUT_OF: Final = {
    "q": "attention", "k": "attention", "v": "attention", "o": "heads", "gate": "feed-forward", "up": "feed-forward",
    "down": "product", "head": "head",
}  # fmt: skip
"""Which tensor of a layer a target reads: what q, k, v share, what gate and up share, ..."""


def matrix_size(shape: ModelShape, target: str) -> tuple[int, int]:
    """(outputs, inputs) of a target."""
    h, q, kv, f = shape.hidden_size, shape.query_size, shape.kv_size, shape.ffn_size
    sizes = {
        "q": (q, h), "k": (kv, h), "v": (kv, h), "o": (h, q), "gate": (f, h), "up": (f, h), "down": (h, f),
        "head": (shape.vocab_size, h),
    }  # fmt: skip
    return sizes[target]


def present(shape: ModelShape, adapter: Adapter) -> tuple[str, ...]:
    """Targets the layers of this shape have: no gate without a gated feed-forward."""
    return tuple(each for each in adapter.targets if each != "head" and (shape.gated_ffn or each != "gate"))


def adapter_entries(holding: Holding, adapter: Adapter) -> int:
    """Parameters of the adapters on one device."""
    targets = tuple(each for each in adapter.targets if each != "head" or holding.has_head)
    return int(adapter_parameters(holding.shape, replace(adapter, targets=targets)).value) if targets else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptedInputs:
    """What a layer keeps for its adapters, per token."""

    originals: frozenset[str]
    """Inputs that stay as they are, by their names in INPUT_OF."""
    copied_bytes: int
    """Casts and dropped-out copies with their masks."""
    inner_bytes: int
    """The vectors of r."""


def adapted_inputs(
    shape: ModelShape, adapter: Adapter, *, compute_bytes: int, autocast: bool, mask_bytes: int
) -> AdaptedInputs:
    """`mask_bytes`: what dropout keeps per entry to know what it dropped."""
    targets = present(shape, adapter)
    copy = compute_bytes if autocast else adapter.weight_bytes if adapter.weight_bytes != compute_bytes else 0
    inner = adapter.rank * len(targets) * (compute_bytes if autocast else adapter.weight_bytes)
    if adapter.dropout:
        copy = (copy or compute_bytes) + mask_bytes
    if not copy:
        return AdaptedInputs(originals=frozenset(INPUT_OF[each] for each in targets), copied_bytes=0, inner_bytes=inner)
    copied = copy * sum(matrix_size(shape, each)[1] for each in targets)
    return AdaptedInputs(originals=frozenset(), copied_bytes=copied, inner_bytes=inner)
