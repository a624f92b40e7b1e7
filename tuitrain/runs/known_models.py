"""Published models by size and training tokens: what a plan is set beside.

Tokens are `tuitrain_planners.published`'s; parameters are counted from the model presets, embeddings included.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tuitrain.runs.home import presets_dir
from tuitrain_planners import count_parameters, find_shape
from tuitrain_planners.published import TRAINED_TOKENS, WITHOUT_PRESET


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownModel:
    """One model."""

    name: str
    parameters: float
    tokens: float
    source: str
    """Where the tokens stand."""


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Dense models with published tokens, those one would name first at the beginning. Laws of loss are about dense models.

    Reads some thirty presets once, about 20 ms.
    """
    found = []
    for name, (tokens, source) in TRAINED_TOKENS.items():
        shape = find_shape(presets_dir() / "models", name)
        if shape.experts is None:
            found.append(KnownModel(name=name, parameters=count_parameters(shape).value, tokens=tokens, source=source))
    others = [KnownModel(name=name, parameters=n, tokens=d, source=source) for name, (n, d, source) in WITHOUT_PRESET.items()]
    return (*found, *others)
