"""Published models by size and training tokens: what a plan is set beside.

Parameters are all of them, embeddings included, as published; tokens are those of pretraining, repetitions counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownModel:
    """One model."""

    name: str
    parameters: float
    tokens: float
    source: str
    """Where both numbers stand."""


def _known(name: str, parameters: float, tokens: float, source: str) -> KnownModel:
    return KnownModel(name=name, parameters=parameters, tokens=tokens, source=source)


_LLAMA_2: Final = "Touvron et al. (2023), Llama 2, table 1, https://arxiv.org/abs/2307.09288"
_LLAMA_3: Final = "Meta, Llama 3 model card: 15T+ tokens, https://github.com/meta-llama/llama3/blob/main/MODEL_CARD.md"
_SMOLLM_2: Final = "Ben Allal et al. (2025), SmolLM2, https://arxiv.org/abs/2502.02737"

KNOWN_MODELS: Final = (
    _known("Chinchilla", 70e9, 1.4e12, "Hoffmann et al. (2022), table 4, https://arxiv.org/abs/2203.15556"),
    _known("GPT-3", 174.6e9, 300e9, "Brown et al. (2020), table D.1, https://arxiv.org/abs/2005.14165"),
    _known("Llama-3-8B", 8.03e9, 15e12, _LLAMA_3),
    _known("SmolLM2-135M", 134.5e6, 2e12, _SMOLLM_2),
    _known("Llama-2-7B", 6.738e9, 2e12, _LLAMA_2),
    _known("TinyLlama-1.1B", 1.1e9, 3e12, "Zhang et al. (2024), TinyLlama, https://arxiv.org/abs/2401.02385"),
    _known("Llama-3-70B", 70.55e9, 15e12, _LLAMA_3),
    _known("SmolLM2-1.7B", 1.711e9, 11e12, _SMOLLM_2),
    _known("Llama-2-70B", 68.98e9, 2e12, _LLAMA_2),
    _known("Gopher", 280e9, 300e9, "Rae et al. (2021), https://arxiv.org/abs/2112.11446"),
)
"""Those one would name first come first: where names have no room beside each other, later ones go without."""
