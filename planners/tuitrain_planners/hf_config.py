"""A model's shape from its Hugging Face `config.json`, strictly: what is not understood is an error, never a guess.

Keys that change neither the number of parameters nor what a step computes are listed; every other key has to be one the family
reads. Defaults are those of the family's own configuration class in transformers (5.23).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.shapes import FAMILIES, ModelShape

HARMLESS: Final = frozenset({
    "_name_or_path", "activation_function", "architectures", "attention_dropout", "attn_pdrop", "bos_token_id", "dtype",
    "embd_pdrop", "eos_token_id", "hidden_act", "id2label", "initializer_range", "is_llama_config", "label2id",
    "layer_norm_epsilon", "max_window_layers", "model_type", "n_ctx", "pad_token_id", "pretraining_tp",
    "reorder_and_upcast_attn", "resid_pdrop", "rms_norm_eps", "rope_interleaved", "rope_parameters", "rope_scaling",
    "rope_theta", "scale_attn_by_inverse_layer_idx", "scale_attn_weights", "summary_activation", "summary_first_dropout",
    "summary_proj_to_labels", "summary_type", "summary_use_proj", "task_specific_params", "torch_dtype",
    "transformers.js_config", "transformers_version", "use_cache",
})  # fmt: skip
"""Keys that change no count."""
_LLAMA_KEYS: Final = frozenset({
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "layer_types", "max_position_embeddings", "tie_word_embeddings", "attention_bias", "mlp_bias",
    "sliding_window", "use_sliding_window",
})  # fmt: skip
_GPT2_KEYS: Final = frozenset({
    "vocab_size", "n_embd", "n_layer", "n_head", "n_inner", "n_positions", "tie_word_embeddings", "add_cross_attention",
})  # fmt: skip
KNOWN: Final = ("gpt2", "llama", "mistral", "qwen3")
"""`model_type`s that are read."""


def shape_from_hf(path: Path) -> ModelShape:
    """The shape a `config.json`, or the folder it lies in, describes."""
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read {file}: {error.strerror}", "give a config.json or the folder of a model") from error
    except ValueError as error:
        raise PlanError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise PlanError(f"{file} holds no JSON object", "give the config.json of a model")
    family = config.get("model_type")
    if family not in KNOWN:
        raise unknown_name("model_type", str(family), KNOWN)
    name = file.resolve().parent.name if file.name == "config.json" else file.stem
    known = _GPT2_KEYS if family == "gpt2" else _LLAMA_KEYS
    if strange := sorted(set(config) - known - HARMLESS):
        raise PlanError(
            f"{file}: {', '.join(strange)} of a {family} model {'is' if len(strange) == 1 else 'are'} not understood",
            "a key that changes the count must not be guessed at; describe the model in a TOML file like presets/models/*.toml",
        )
    return _gpt2(config, name, file) if family == "gpt2" else _llama(config, name, file)


def _llama(config: Mapping[str, Any], name: str, file: Path) -> ModelShape:
    family = config["model_type"]
    if config.get("sliding_window") and config.get("use_sliding_window", family == "mistral"):
        raise PlanError(
            f"{file}: attention in windows of {config['sliding_window']} tokens is not planned yet",
            "set sliding_window to null to plan full attention",
        )
    if other := sorted(set(config.get("layer_types") or ()) - {"full_attention"}):
        raise PlanError(f"{file}: layers of type {', '.join(other)} are not planned yet", "only full_attention is")
    heads, hidden = _size(config, "num_attention_heads", file), _size(config, "hidden_size", file)
    architecture = "qwen3" if family == "qwen3" else "llama"
    head_dim = config.get("head_dim") or (128 if family == "qwen3" else hidden // heads)
    return ModelShape(
        **{**FAMILIES[architecture], "attention_bias": bool(config.get("attention_bias", False))},
        name=name,
        architecture=architecture,
        vocab_size=_size(config, "vocab_size", file),
        hidden_size=hidden,
        num_layers=_size(config, "num_hidden_layers", file),
        num_heads=heads,
        num_kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        ffn_size=_size(config, "intermediate_size", file),
        max_seq_len=_size(config, "max_position_embeddings", file),
        tie_embeddings=bool(config.get("tie_word_embeddings", False)),
        ffn_bias=bool(config.get("mlp_bias", False)),
    )


def _gpt2(config: Mapping[str, Any], name: str, file: Path) -> ModelShape:
    if config.get("add_cross_attention"):
        raise PlanError(f"{file}: cross-attention", "only decoders are planned")
    heads, hidden = _size(config, "n_head", file), _size(config, "n_embd", file)
    positions = _size(config, "n_positions", file)
    return ModelShape(
        **{**FAMILIES["gpt2"], "tie_embeddings": bool(config.get("tie_word_embeddings", True))},
        name=name,
        architecture="gpt2",
        vocab_size=_size(config, "vocab_size", file),
        hidden_size=hidden,
        num_layers=_size(config, "n_layer", file),
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=hidden // heads,
        ffn_size=config.get("n_inner") or 4 * hidden,
        max_seq_len=positions,
    )


def _size(config: Mapping[str, Any], key: str, file: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise PlanError(f"{file}: {key} is {value!r}", "a whole number is needed there")
    return value
