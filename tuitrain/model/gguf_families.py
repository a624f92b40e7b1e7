"""What llama.cpp computes for each family of models, and the metadata it reads their shape from.

Keys and conventions are those of llama.cpp's converter and model loaders (github.com/ggml-org/llama.cpp, `conversion/` and
`src/models/`). A GGUF file carries no computation: it names an architecture, and whatever a config asks for beyond what that
architecture computes would be dropped in silence. Such a config is refused here, by the name of the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tuitrain.errors import CheckpointError
from tuitrain.files import read_json
from tuitrain.model.gguf_rotary import add_rotary

if TYPE_CHECKING:
    import gguf

_GELU_TANH = ("gelu_new", "gelu_pytorch_tanh")
_SILU = ("silu", "swish")


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """How one `model_type` of transformers becomes an architecture of llama.cpp."""

    arch: str
    activations: tuple[str, ...] = _SILU
    norm_offset: float = 0.0
    """Added to every norm's weight: Gemma multiplies by 1 + weight, llama.cpp by weight."""
    interleave_rotary: bool = False
    """llama.cpp rotates neighbours (0, 1), transformers halves (0, d/2): rows of q and k are reordered."""
    transposed_linear: bool = False
    """GPT-2 keeps its matrices as (in, out)."""
    must_be: tuple[tuple[str, Any], ...] = ()
    """What the config has to say, where llama.cpp computes one thing only."""


_QWEN_MOE_LAYERS: tuple[tuple[str, Any], ...] = (("decoder_sparse_step", 1), ("mlp_only_layers", []))
FAMILIES: Final = {
    "llama": Family(arch="llama", interleave_rotary=True),
    "mistral": Family(arch="llama", interleave_rotary=True),
    "mixtral": Family(arch="llama", interleave_rotary=True),
    "qwen2": Family(arch="qwen2"),
    "qwen2_moe": Family(arch="qwen2moe", must_be=(("norm_topk_prob", False), *_QWEN_MOE_LAYERS)),
    "qwen3": Family(arch="qwen3", must_be=(("attention_bias", False),)),
    "qwen3_moe": Family(arch="qwen3moe", must_be=(("norm_topk_prob", True), ("attention_bias", False), *_QWEN_MOE_LAYERS)),
    "gemma2": Family(arch="gemma2", activations=_GELU_TANH, norm_offset=1.0, must_be=(("attention_bias", False),)),
    "gemma3_text": Family(
        arch="gemma3",
        activations=_GELU_TANH,
        norm_offset=1.0,
        must_be=(("attention_bias", False), ("attn_logit_softcapping", None)),
    ),
    "phi3": Family(arch="phi3"),
    "gpt2": Family(
        arch="gpt2",
        activations=_GELU_TANH,
        transposed_linear=True,
        must_be=(("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False), ("add_cross_attention", False)),
    ),
}


def load_config(folder: Path) -> tuple[Family, dict[str, Any]]:
    """The family of a model folder, and its config.json with every default spelled out."""
    raw = read_json(folder / "config.json")
    if not isinstance(raw, dict):
        raise CheckpointError(f"{folder} has no readable config.json", "give a Hugging Face model folder")
    kind = raw.get("model_type")
    if kind not in FAMILIES:
        raise CheckpointError(
            f"model_type {kind!r} cannot be written as GGUF here",
            f"it can for {', '.join(FAMILIES)}; for others use llama.cpp's convert_hf_to_gguf.py",
        )
    if "quantization_config" in raw:
        raise CheckpointError(
            f"{folder.name} holds weights quantised by {raw['quantization_config'].get('quant_method')!r}",
            "merge into a full-precision folder first",
        )
    from transformers import AutoConfig

    config: dict[str, Any] = AutoConfig.from_pretrained(folder).to_dict()
    family = FAMILIES[kind]
    _check(family, config)
    return family, config


def _check(family: Family, config: dict[str, Any]) -> None:
    activation = next(config[key] for key in ("hidden_act", "hidden_activation", "activation_function") if key in config)
    if activation not in family.activations:
        raise _not_computed(family, "the activation", activation, " or ".join(map(repr, family.activations)))
    for key, value in family.must_be:
        if config.get(key, value) != value:
            raise _not_computed(family, key, config[key], repr(value))
    if family.norm_offset:  # Gemma's attention: what scales it and which layers see how far are part of the architecture
        if config.get("use_bidirectional_attention"):
            raise _not_computed(family, "use_bidirectional_attention", True, "causal attention")
        if family.arch == "gemma2" and None in (config["attn_logit_softcapping"], config["final_logit_softcapping"]):
            raise _not_computed(family, "a logit_softcapping", None, "softcaps")
        period, big = (2, 46) if family.arch == "gemma2" else (6, 62)
        layers = config["num_hidden_layers"]
        scalar = config["hidden_size"] // config["num_attention_heads"] if layers == big else config["head_dim"]
        if config["query_pre_attn_scalar"] != scalar:
            raise _not_computed(family, "query_pre_attn_scalar", config["query_pre_attn_scalar"], str(scalar))
        kinds = ["full_attention" if (layer + 1) % period == 0 else "sliding_attention" for layer in range(layers)]
        if config["layer_types"] != kinds:
            raise _not_computed(family, "layer_types", config["layer_types"], f"full attention in every {period}th layer")


def _not_computed(family: Family, key: str, value: object, computed: str) -> CheckpointError:
    return CheckpointError(
        f"config.json has {key} = {value!r}; llama.cpp computes {computed} for {family.arch}",
        "a GGUF file would hold the weights and compute something else",
    )


def window_notes(config: dict[str, Any]) -> list[str]:
    """What longer contexts lose: llama.cpp gives these architectures full attention."""
    window, context = config.get("sliding_window"), config.get("max_position_embeddings", 0)
    used = config["model_type"] in ("mistral", "mixtral", "phi3") or config.get("use_sliding_window", False)
    if not used or not window or window >= context:
        return []
    return [f"beyond {window:,} tokens llama.cpp attends to the whole context, where this model was made to see {window:,}"]


def add_shape(writer: gguf.GGUFWriter, family: Family, config: dict[str, Any]) -> None:
    """Write the keys llama.cpp builds the architecture from."""
    if family.arch == "gpt2":
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_block_count(config["n_layer"])
        writer.add_feed_forward_length(config["n_inner"] or 4 * config["n_embd"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config.get("num_key_value_heads") or config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    add_rotary(writer, config)
    _add_experts(writer, config)
    if family.norm_offset or family.arch == "phi3":
        writer.add_sliding_window(config["sliding_window"] or 0)
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def _add_experts(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    experts = config.get("num_local_experts") or config.get("num_experts")
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])
    if config.get("moe_intermediate_size"):
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if config.get("shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
