"""On how many tokens published models were trained: what a plan is set beside, and whether they were under- or over-trained.

Tokens are those of pretraining, repetitions counted. Keys are names of the model presets; those one would name first come
first, so that where names have no room beside each other the later ones go without.
"""

from __future__ import annotations

from typing import Final

_GPT_3: Final = "Brown et al. (2020), table D.1, https://arxiv.org/abs/2005.14165"
_LLAMA_1: Final = "Touvron et al. (2023), LLaMA, table 2, https://arxiv.org/abs/2302.13971"
_LLAMA_2: Final = "Touvron et al. (2023), Llama 2, table 1, https://arxiv.org/abs/2307.09288"
_LLAMA_3: Final = "Meta, Llama 3 model card: 15T+ tokens, https://github.com/meta-llama/llama3/blob/main/MODEL_CARD.md"
_LLAMA_31: Final = "Grattafiori et al. (2024), The Llama 3 Herd of Models, section 3, https://arxiv.org/abs/2407.21783"
_SMOLLM_2: Final = "Ben Allal et al. (2025), SmolLM2, https://arxiv.org/abs/2502.02737"
_PYTHIA: Final = "Biderman et al. (2023), Pythia, https://arxiv.org/abs/2304.01373"
_OLMO_2: Final = "OLMo team (2025), 2 OLMo 2 Furious, https://arxiv.org/abs/2501.00656"
_QWEN_3: Final = "Qwen team (2025), Qwen3 Technical Report, https://arxiv.org/abs/2505.09388"

TRAINED_TOKENS: Final[dict[str, tuple[float, str]]] = {
    "chinchilla-70b": (1.4e12, "Hoffmann et al. (2022), table 4, https://arxiv.org/abs/2203.15556"),
    "gpt3-175b": (300e9, _GPT_3),
    "llama-3-8b": (15e12, _LLAMA_3),
    "smollm2-135m": (2e12, _SMOLLM_2),
    "llama-2-7b": (2e12, _LLAMA_2),
    "tinyllama-1.1b": (3e12, "Zhang et al. (2024), TinyLlama, https://arxiv.org/abs/2401.02385"),
    "llama-3-70b": (15e12, _LLAMA_3),
    "llama-3.1-405b": (15.6e12, _LLAMA_31),
    "smollm2-1.7b": (11e12, _SMOLLM_2),
    "llama-2-70b": (2e12, _LLAMA_2),
    "gpt3-large": (300e9, _GPT_3),
    "gpt3-2.7b": (300e9, _GPT_3),
    "gpt3-6.7b": (300e9, _GPT_3),
    "llama-7b": (1.0e12, _LLAMA_1),
    "llama-13b": (1.0e12, _LLAMA_1),
    "llama-33b": (1.4e12, _LLAMA_1),
    "llama-65b": (1.4e12, _LLAMA_1),
    "llama-2-13b": (2e12, _LLAMA_2),
    "smollm2-360m": (4e12, _SMOLLM_2),
    "pythia-1b": (300e9, _PYTHIA),
    "pythia-1.4b": (300e9, _PYTHIA),
    "pythia-6.9b": (300e9, _PYTHIA),
    "pythia-12b": (300e9, _PYTHIA),
    "olmo-2-7b": (4e12, _OLMO_2),
    "olmo-2-13b": (5e12, _OLMO_2),
    "qwen3-0.6b": (36e12, _QWEN_3),
    "qwen3-8b": (36e12, _QWEN_3),
    "qwen3-32b": (36e12, _QWEN_3),
    "bloom-176b": (366e9, "BigScience (2022), BLOOM, https://arxiv.org/abs/2211.05100"),
    "deepseek-v3": (14.8e12, "DeepSeek-AI (2024), DeepSeek-V3, https://arxiv.org/abs/2412.19437"),
}
"""(tokens, where it stands)."""

WITHOUT_PRESET: Final[dict[str, tuple[float, float, str]]] = {
    "gopher-280b": (280e9, 300e9, "Rae et al. (2021), Gopher, table 1 and section 3, https://arxiv.org/abs/2112.11446"),
}
"""(parameters, tokens, where they stand) of models whose shape no preset has."""
