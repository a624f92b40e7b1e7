"""A checkpoint is a Hugging Face model folder: config.json + model.safetensors, both ways.

Tensor names are the same on both sides, so what is translated is only the shape into a config. Weights are safetensors; nothing
here unpickles, and no code from a folder is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tuitrain.errors import CheckpointError
from tuitrain.files import read_json, write_json
from tuitrain.model.decoder import Decoder
from tuitrain.model.shape import DecoderShape

WEIGHTS = "model.safetensors"
_CLASSES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "nanochat": "NanoChatForCausalLM"}


def to_hf_config(shape: DecoderShape, *, eos_id: int | None, dtype: torch.dtype) -> dict[str, Any]:
    """config.json of a shape, for transformers 5."""
    config: dict[str, Any] = {
        "architectures": [_CLASSES[shape.architecture]],
        "model_type": shape.architecture,
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.ffn_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "max_position_embeddings": shape.max_seq_len,
        "hidden_act": "silu" if shape.gated else "relu2",
        "rms_norm_eps": shape.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "tie_word_embeddings": shape.tie_embeddings,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": eos_id,
        "eos_token_id": eos_id,
        "pad_token_id": None,
        "dtype": str(dtype).removeprefix("torch."),
    }
    if shape.architecture == "nanochat":
        config["final_logit_softcapping"] = shape.logit_softcap
    else:
        config["head_dim"] = shape.head_dim
        config["mlp_bias" if shape.architecture == "llama" else "use_sliding_window"] = False
    return config


def from_hf_config(config: dict[str, Any]) -> DecoderShape:
    """The shape a config.json describes; CheckpointError for anything the native decoder would compute differently."""
    kind = config.get("model_type")
    if kind not in _CLASSES:
        raise CheckpointError(f"model_type {kind!r} is not one the native decoder computes", f"it knows {', '.join(_CLASSES)}")
    heads = int(config["num_attention_heads"])
    rope = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 10_000.0), "rope_type": "default"}
    expected = {
        "hidden_act": "relu2" if kind == "nanochat" else "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "use_sliding_window": False,
    }
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise CheckpointError(f"config.json has {key} = {config[key]!r}; the native decoder computes {value!r} only")
    if rope.get("rope_type", "default") != "default":
        raise CheckpointError(f"config.json scales its rotary positions ({rope['rope_type']!r}); the native decoder does not")
    return DecoderShape(
        architecture=kind,
        vocab_size=int(config["vocab_size"]),
        hidden_size=int(config["hidden_size"]),
        num_layers=int(config["num_hidden_layers"]),
        num_heads=heads,
        num_kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or config["hidden_size"] // heads),
        ffn_size=int(config["intermediate_size"]),
        tie_embeddings=bool(config.get("tie_word_embeddings", False)),
        max_seq_len=int(config["max_position_embeddings"]),
        rope_theta=float(rope["rope_theta"]),
        norm_eps=float(config["rms_norm_eps"]),
        logit_softcap=config.get("final_logit_softcapping") if kind == "nanochat" else None,
    )


def save_model(model: Decoder, folder: Path, *, eos_id: int | None) -> None:
    """Write config.json, generation_config.json and model.safetensors into an existing folder."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    if model.shape.tie_embeddings:  # one matrix in memory, one in the file; transformers ties it again
        del state["lm_head.weight"]
    dtype = model.lm_head.weight.dtype
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(folder / "config.json", to_hf_config(model.shape, eos_id=eos_id, dtype=dtype))
    write_json(folder / "generation_config.json", {"bos_token_id": eos_id, "eos_token_id": eos_id, "do_sample": True})


def load_weights(model: Decoder, folder: Path) -> None:
    """Copy the weights of a model folder into `model`, in place. Names and shapes must match exactly."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder.name}/{WEIGHTS} cannot be read: {error}", "use an earlier checkpoint") from error
    if model.shape.tie_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder.name} holds another model: {error}", "resume with the configuration it was trained with"
        ) from error


def load_model(folder: Path, *, compute_dtype: torch.dtype = torch.float32) -> Decoder:
    """The native decoder of a model folder."""
    config = read_json(folder / "config.json")
    if config is None:
        raise CheckpointError(f"{folder} has no readable config.json", "give a folder that holds a model")
    model = Decoder(from_hf_config(config), compute_dtype=compute_dtype)
    load_weights(model, folder)
    return model
