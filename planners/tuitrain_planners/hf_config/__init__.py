"""A model's shape from its Hugging Face `config.json`, strictly: what is not understood is an error, never a guess.

A key is understood when the family's reader reads it, or when it is listed as changing neither the number of parameters nor
what a step computes (`reading.py`). Defaults are those of the family's own configuration class in transformers (5.23). Of
gemma3 the nested text model is read, of deepseek_v3 the main model without the layers that predict further tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.hf_config.experts import deepseek_v3, mixtral, qwen2_moe, qwen3_moe
from tuitrain_planners.hf_config.layer_norm import bloom, falcon, gpt2, gpt_neox, gptj, mpt, opt, phi
from tuitrain_planners.hf_config.reading import Reading
from tuitrain_planners.hf_config.rms_norm import (
    gemma,
    gemma2,
    gemma3,
    gemma3_text,
    llama,
    mistral,
    nanochat,
    olmo2,
    phi3,
    qwen2,
    qwen3,
    smollm3,
)
from tuitrain_planners.shapes import ModelShape

_READERS: Final[dict[str, Callable[[Reading], ModelShape]]] = {
    "bloom": bloom, "deepseek_v3": deepseek_v3, "falcon": falcon, "gemma": gemma, "gemma2": gemma2, "gemma3": gemma3,
    "gemma3_text": gemma3_text, "gpt2": gpt2, "gpt_neox": gpt_neox, "gptj": gptj, "llama": llama, "mistral": mistral,
    "mixtral": mixtral, "mpt": mpt, "nanochat": nanochat, "olmo2": olmo2, "opt": opt, "phi": phi, "phi3": phi3, "qwen2": qwen2,
    "qwen2_moe": qwen2_moe, "qwen3": qwen3, "qwen3_moe": qwen3_moe, "smollm3": smollm3,
}  # fmt: skip
KNOWN: Final = tuple(_READERS)
"""`model_type`s that are read."""


def shape_from_hf(path: Path) -> ModelShape:
    """The shape a `config.json`, or the folder it lies in, describes. What is not understood is a PlanError that names it."""
    file = path / "config.json" if path.is_dir() else path
    config = _read(file)
    family = config.get("model_type")
    if family not in KNOWN:
        raise unknown_name("model_type", str(family), KNOWN)
    name = file.resolve().parent.name if file.name == "config.json" else file.stem
    reading = Reading(config, name, file)
    shape = _READERS[family](reading)
    if strange := reading.unread():
        raise PlanError(
            f"{file}: {', '.join(strange)} of a {family} model {'is' if len(strange) == 1 else 'are'} not understood",
            "a key that changes the count must not be guessed at; describe the model in a TOML file like presets/models/*.toml",
        )
    return shape


def _read(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read {file}: {error.strerror}", "give a config.json or the folder of a model") from error
    except ValueError as error:
        raise PlanError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise PlanError(f"{file} holds no JSON object", "give the config.json of a model")
    return config
