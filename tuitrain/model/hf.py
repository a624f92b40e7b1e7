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
from tuitrain.model.shards import fill
from tuitrain.model.stream import Piece, write_stream

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
    save_config(model, folder, eos_id=eos_id)
    write_stream(folder / WEIGHTS, pieces_of(model), lambda piece: piece.part.cpu())


def save_config(model: Decoder, folder: Path, *, eos_id: int | None) -> None:
    """Write everything but the weights."""
    write_json(folder / "config.json", to_hf_config(model.shape, eos_id=eos_id, dtype=model.lm_head.weight.dtype))
    write_json(folder / "generation_config.json", {"bos_token_id": eos_id, "eos_token_id": eos_id, "do_sample": True})


def pieces_of(model: Decoder) -> list[Piece]:
    """The tensors of its file. One matrix in memory is one in the file; transformers ties it again."""
    return [Piece.of(name, parameter) for name, parameter in model.named_parameters()]


def load_weights(model: Decoder, folder: Path) -> None:
    """Copy the weights of a model folder into `model`, in place; of a cut model only this process's rows are read. Names and
    shapes must match exactly."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            mine = dict(model.named_parameters())  # tied matrices once, as in the file
            theirs = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
            wrong = _difference({name: tuple(each.shape) for name, each in mine.items()}, theirs)
            if wrong:
                raise CheckpointError(
                    f"{folder.name} holds another model: {wrong}", "resume with the configuration it was trained with"
                )
            for name, parameter in mine.items():
                fill(parameter, file.get_slice(name))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder.name}/{WEIGHTS} cannot be read: {error}", "use an earlier checkpoint") from error


def _difference(mine: dict[str, tuple[int, ...]], theirs: dict[str, tuple[int, ...]]) -> str:
    """The first difference of two sets of names and shapes in words; empty when there is none."""
    for name, shape in mine.items():
        if name not in theirs:
            return f"it has no {name}"
        if theirs[name] != shape:
            return f"its {name} is {list(theirs[name])}, here it is {list(shape)}"
    more = [name for name in theirs if name not in mine]
    return f"it has {more[0]}, which is not in this one" if more else ""


def load_model(folder: Path, *, compute_dtype: torch.dtype = torch.float32) -> Decoder:
    """The native decoder of a model folder."""
    config = read_json(folder / "config.json")
    if config is None:
        raise CheckpointError(f"{folder} has no readable config.json", "give a folder that holds a model")
    model = Decoder(from_hf_config(config), compute_dtype=compute_dtype)
    load_weights(model, folder)
    return model
