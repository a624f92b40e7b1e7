"""The config of a GGUF file, completed: transformers' reader leaves out what its table of keys does not name.

Seen in transformers 5.23: scaled rotary positions, biases, the head size of Qwen3, softcaps and attention scale of Gemma, the
widths of experts and GPT-2's context are read as the class's defaults, in silence or with a size that does not match. Each of
them is in the file.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from tuitrain.errors import CheckpointError
from tuitrain.model.gguf_rotary import llama3_factors

if TYPE_CHECKING:
    import gguf

COMPLETED: Final = ("llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma2", "gemma3", "phi3", "gpt2")
"""Architectures whose configs are known to be whole after `complete`."""
_NOT_OF_CONFIG: Final = ("_model_name_or_path", "unk_token_id")
_RENAMED: Final = {
    "attention.key_length": "head_dim",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "attention.sliding_window": "sliding_window",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}
_OF_ARCH: Final = {
    "llama": ("head_dim",),
    "qwen2": (),
    "qwen2moe": ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size"),
    "qwen3": ("head_dim",),
    "qwen3moe": ("head_dim", "num_experts", "num_experts_per_tok", "moe_intermediate_size"),
    "gemma2": ("head_dim", "attn_logit_softcapping", "final_logit_softcapping", "sliding_window"),
    "gemma3": ("head_dim", "final_logit_softcapping", "sliding_window"),
    "phi3": ("sliding_window",),
    "gpt2": (),
}


class Metadata:
    """The keys of an open GGUF file."""

    def __init__(self, reader: gguf.GGUFReader) -> None:
        self._reader = reader
        self.arch = str(self.get("general.architecture", ""))
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def get(self, key: str, default: Any = None) -> Any:
        field = self._reader.get_field(key)
        return default if field is None else field.contents()

    def of_arch(self, key: str, default: Any = None) -> Any:
        return self.get(f"{self.arch}.{key}", default)


def complete(config: dict[str, Any], data: Metadata) -> dict[str, Any]:
    """The config as transformers read it, with what it left out. CheckpointError for what cannot be said in a config."""
    scaling = str(data.of_arch("rope.scaling.type", "none"))
    config = {key: _shortest(value) for key, value in config.items() if key not in _NOT_OF_CONFIG}
    if data.arch not in COMPLETED:
        if scaling not in ("none", "") or "rope_freqs.weight" in data.tensors:
            raise CheckpointError(f"the file scales its rotary positions, which is not read for {data.arch}")
        return config
    if data.arch == "llama" and data.of_arch("expert_count", 0):
        raise CheckpointError(
            "the file holds a mixture of experts of architecture llama (Mixtral), which transformers cannot read",
            "use the model's own Hugging Face folder",
        )
    for key, name in _RENAMED.items():
        if name in _OF_ARCH[data.arch] and (value := data.of_arch(key)) is not None:
            config[name] = value
    if (
        data.arch == "llama"
    ):  # the reader takes a model named "mistral" for another class, and then has no names for its tensors
        config |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        config["attention_bias"] = "blk.0.attn_q.bias" in data.tensors
        config["mlp_bias"] = "blk.0.ffn_gate.bias" in data.tensors
    if data.arch in ("gemma2", "gemma3"):  # llama.cpp scales by the head size, except in the largest model of each kind
        largest = {"gemma2": 46, "gemma3": 62}[data.arch] == data.of_arch("block_count")
        by_width = data.of_arch("embedding_length") // data.of_arch("attention.head_count")
        config["query_pre_attn_scalar"] = by_width if largest else config["head_dim"]
    if data.arch == "gpt2":
        config |= {"n_positions": data.of_arch("context_length"), "n_inner": data.of_arch("feed_forward_length")}
        for unknown in ("n_ctx", "feed_forward_length"):
            config.pop(unknown, None)
    else:
        _add_rotary(config, data, scaling)
    if data.arch == "phi3":
        config["sliding_window"] = config.get("sliding_window") or None
    for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):  # the class's defaults are another model's ids
        config[f"{role}_token_id"] = data.get(f"tokenizer.ggml.{key}_token_id")
    return config


def _shortest(value: Any) -> Any:
    """1e-05 for what a 32-bit field of the file makes 9.999999747378752e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) and float(np.float32(value)) == value else value


def _add_rotary(config: dict[str, Any], data: Metadata, scaling: str) -> None:
    theta = _shortest(data.of_arch("rope.freq_base", 10_000.0))
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    original = data.of_arch("rope.scaling.original_context_length")
    head_dim = config.get("head_dim") or data.of_arch("embedding_length") // data.of_arch("attention.head_count")
    dims = int(data.of_arch("rope.dimension_count", head_dim))
    if "rope_factors_long.weight" in data.tensors:
        rope |= {
            "rope_type": "longrope",
            "original_max_position_embeddings": original,
            "attention_factor": data.of_arch("rope.scaling.attn_factor", 1.0),
            "long_factor": _values(data, "rope_factors_long.weight"),
            "short_factor": _values(data, "rope_factors_short.weight"),
        }
    elif "rope_freqs.weight" in data.tensors:
        rope = _llama3(rope, data, dims)
    elif scaling in ("linear", "yarn"):
        rope |= {"rope_type": scaling, "factor": float(data.of_arch("rope.scaling.factor", 1.0))}
        if scaling == "yarn":
            rope["original_max_position_embeddings"] = original
            rope |= {
                key: data.of_arch(f"rope.scaling.yarn_{key}", usual) for key, usual in (("beta_fast", 32.0), ("beta_slow", 1.0))
            }
    elif scaling not in ("none", "", "longrope"):
        raise CheckpointError(f"the file scales its rotary positions by {scaling!r}, which is not read")
    if data.arch == "phi3":
        rope["partial_rotary_factor"] = dims / head_dim
        config["original_max_position_embeddings"] = original or data.of_arch("context_length")
    for older in ("rope_theta", "rope_scaling"):
        config.pop(older, None)
    config["rope_parameters"] = rope
    if data.arch == "gemma3":
        local = float(data.of_arch("rope.freq_base_swa", 10_000.0))
        config["rope_parameters"] = {
            "full_attention": rope,
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        }


def _llama3(rope: dict[str, Any], data: Metadata, dims: int) -> dict[str, Any]:
    """The parameters behind Llama 3's factors, of which the file holds the result only.

    All published models blend between 1 and 4 turns. Then one blended factor f of a frequency gives the original context L:
    s = (1 / f - 1 / factor) / (1 - 1 / factor), L = 2 pi (1 + 3 s) / frequency. The rest have to agree.
    """
    factors = torch.tensor(_values(data, "rope_freqs.weight"), dtype=torch.float64)
    factor = float(factors.max())
    blend = (1 / factors - 1 / factor) / (1 - 1 / factor)
    frequencies = rope["rope_theta"] ** -(torch.arange(0, dims, 2, dtype=torch.float64) / dims)
    blended = (blend > 0.01) & (blend < 0.99)
    contexts = 2 * math.pi * (1 + 3 * blend[blended]) / frequencies[blended]
    found = rope | {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": round(float(contexts.median())) if len(contexts) else 8192,
    }
    if torch.allclose(llama3_factors(found, dims).double(), factors, rtol=1e-3):
        return found
    raise CheckpointError(
        f"the file divides its rotary frequencies by factors up to {factor:g} that are not those of Llama 3.1",
        "use the model's own Hugging Face folder",
    )


def _values(data: Metadata, name: str) -> list[float]:
    return [float(value) for value in data.tensors[name].data]
