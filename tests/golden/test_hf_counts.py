"""Counts against transformers' own classes on the meta device: every family that is read, and every shipped preset."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuitrain_planners import ModelShape, count_parameters, find_shape, flop_per_token, preset_names, shape_from_hf

torch = pytest.importorskip("torch", reason="the classes are built on torch's meta device")
transformers = pytest.importorskip("transformers", reason="the counts are those of its classes")

MODELS = Path(__file__).parents[2] / "presets" / "models"


def elements(config: Any) -> int:
    """Elements of the parameters of a model, and of what its files hold although it is a buffer."""
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    stored = sum(each.numel() for name, each in model.named_buffers() if name.endswith("e_score_correction_bias"))
    return sum(each.numel() for each in model.parameters()) + stored


SMALL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 5, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
"""Tiny, and no two sizes equal, so that no mix-up counts right."""
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
OLD: dict[str, Any] = {key: SMALL[key] for key in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")}
GPT: dict[str, Any] = {**OLD, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 48}
NAMED: dict[str, Any] = {key: value for key, value in SMALL.items() if key != "num_key_value_heads"}
BARE: dict[str, Any] = {key: value for key, value in NAMED.items() if key != "intermediate_size"}
CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("llama", SMALL),
    ("llama", {**SMALL, "head_dim": 12, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("mistral", {**SMALL, "sliding_window": 32}),
    ("mistral", {**SMALL, "head_dim": 24, "sliding_window": None}),
    ("qwen2", SMALL),
    ("qwen2", {**SMALL, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2, "tie_word_embeddings": True}),
    ("qwen3", {**SMALL, "head_dim": 24, "attention_bias": True}),
    ("qwen3", {**SMALL, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 4}),
    ("smollm3", {**SMALL, "tie_word_embeddings": False}),
    ("smollm3", {**SMALL, "use_sliding_window": True, "sliding_window": 16}),
    ("olmo2", SMALL),
    ("olmo2", {**SMALL, "attention_bias": True, "tie_word_embeddings": True}),
    ("phi3", {**SMALL, "sliding_window": 32}),
    ("gemma", {**SMALL, "head_dim": 20}),
    ("gemma2", {**SMALL, "head_dim": 20, "sliding_window": 16}),
    ("gemma2", {**SMALL, "head_dim": 20, "attention_bias": True, "final_logit_softcapping": None}),
    ("gemma3_text", {**SMALL, "head_dim": 20, "sliding_window": 16}),
    ("gemma3_text", {**SMALL, "sliding_window": 16, "sliding_window_pattern": 2, "tie_word_embeddings": False}),
    ("mixtral", {**SMALL, "num_local_experts": 6, "sliding_window": 16}),
    ("qwen2_moe", {**SMALL, **EXPERTS, "num_experts": 6, "shared_expert_intermediate_size": 40}),
    ("qwen2_moe", {**SMALL, **EXPERTS, "num_experts": 6, "qkv_bias": False, "mlp_only_layers": [0, 1]}),
    ("qwen3_moe", {**SMALL, **EXPERTS, "num_experts": 6, "head_dim": 24}),
    ("qwen3_moe", {**SMALL, **EXPERTS, "num_experts": 6, "mlp_only_layers": [0], "attention_bias": True}),
    ("deepseek_v3", {
        **SMALL, **EXPERTS, "num_key_value_heads": 4, "n_routed_experts": 8, "n_shared_experts": 2, "kv_lora_rank": 18,
        "q_lora_rank": 22, "qk_nope_head_dim": 10, "qk_rope_head_dim": 6, "v_head_dim": 14, "first_k_dense_replace": 2,
        "n_group": 2, "topk_group": 1,
    }),
    ("deepseek_v3", {
        **SMALL, **EXPERTS, "n_routed_experts": 8, "q_lora_rank": None, "num_key_value_heads": 4, "n_group": 2, "topk_group": 1,
        "kv_lora_rank": 18, "qk_nope_head_dim": 10, "qk_rope_head_dim": 6, "v_head_dim": 14,
    }),
    ("nanochat", {**SMALL, "num_key_value_heads": 2, "head_dim": 16}),
    ("nanochat", {**NAMED, "tie_word_embeddings": True}),
    ("phi", SMALL),
    ("phi", {**SMALL, "qk_layernorm": True}),
    ("gpt_neox", NAMED),
    ("gpt_neox", {**NAMED, "attention_bias": False, "use_parallel_residual": False, "tie_word_embeddings": True}),
    ("gpt2", GPT),
    ("gpt2", {**GPT, "n_inner": 70, "tie_word_embeddings": False}),
    ("gptj", {**GPT, "rotary_dim": 8}),
    ("falcon", BARE),
    ("falcon", {**BARE, "new_decoder_architecture": True, "num_kv_heads": 2, "ffn_hidden_size": 70}),
    ("falcon", {**BARE, "multi_query": False, "parallel_attn": False, "bias": True, "alibi": True}),
    ("falcon", {**BARE, "tie_word_embeddings": False}),
    ("mpt", {**OLD, "d_model": 64, "n_heads": 4, "n_layers": 3, "max_seq_len": 48}),
    ("bloom", {**OLD, "hidden_size": 64, "n_head": 4, "n_layer": 3}),
    ("opt", {**BARE, "ffn_dim": 70}),
    ("opt", {**BARE, "ffn_dim": 70, "enable_bias": False}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "values"), CONFIGS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CONFIGS)])
def test_a_saved_config_gives_the_count_of_the_class(family: str, values: dict[str, Any], tmp_path: Path) -> None:
    config = transformers.AutoConfig.for_model(family, **values)
    config.save_pretrained(tmp_path)
    shape = shape_from_hf(tmp_path)
    assert count_parameters(shape).value == elements(config)
    types = getattr(config, "layer_types", None)
    if types is not None:
        assert (shape.window.num_layers if shape.window else 0) == types.count("sliding_attention")


def test_every_family_that_is_read_is_tried() -> None:
    from tuitrain_planners.hf_config import KNOWN

    assert {name for name, _ in CONFIGS} | {"gemma3"} == set(KNOWN)


def test_the_text_model_of_gemma3_is_read(tmp_path: Path) -> None:
    text = {**SMALL, "head_dim": 20, "sliding_window": 16, "model_type": "gemma3_text"}
    config = transformers.AutoConfig.for_model("gemma3", text_config=text)
    config.save_pretrained(tmp_path)
    assert count_parameters(shape_from_hf(tmp_path)).value == elements(config.text_config)
    # As the Hub has it for the 4B: what equals the class is left out.
    sparse = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    }
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": sparse, "vision_config": {}}))
    found, preset = shape_from_hf(tmp_path), find_shape(MODELS, "gemma-3-4b")
    assert (count_parameters(found).value, found.window) == (count_parameters(preset).value, preset.window)


def llama_names(shape: ModelShape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocab_size, "hidden_size": shape.hidden_size, "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads, "head_dim": shape.head_dim, "intermediate_size": shape.ffn_size,
        "max_position_embeddings": shape.max_seq_len, "tie_word_embeddings": shape.tie_embeddings,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def qwen_moe_names(shape: ModelShape) -> dict[str, Any]:
    assert shape.experts
    return {
        **llama_names(shape), "num_experts": shape.experts.num, "num_experts_per_tok": shape.experts.per_token,
        "moe_intermediate_size": shape.experts.ffn_size, "shared_expert_intermediate_size": shape.experts.shared_ffn_size,
    }  # fmt: skip


def mixtral_names(shape: ModelShape) -> dict[str, Any]:
    assert shape.experts
    return {**llama_names(shape), "intermediate_size": shape.experts.ffn_size, "num_local_experts": shape.experts.num}


def deepseek_names(shape: ModelShape) -> dict[str, Any]:
    assert shape.experts
    assert shape.latent
    names = {key: value for key, value in llama_names(shape).items() if key != "head_dim"}
    return {
        **names, "n_routed_experts": shape.experts.num, "moe_intermediate_size": shape.experts.ffn_size,
        "n_shared_experts": shape.experts.shared_ffn_size // shape.experts.ffn_size, "kv_lora_rank": shape.latent.kv_rank,
        "q_lora_rank": shape.latent.q_rank, "qk_nope_head_dim": shape.latent.nope_head_dim,
        "qk_rope_head_dim": shape.latent.rope_head_dim, "v_head_dim": shape.latent.value_head_dim,
        "first_k_dense_replace": shape.experts.first_dense_layers,
    }  # fmt: skip


def gpt2_names(shape: ModelShape) -> dict[str, Any]:
    names = {
        "n_embd": shape.hidden_size,
        "n_head": shape.num_heads,
        "n_positions": shape.max_seq_len,
        "n_inner": shape.ffn_size,
    }
    return {**names, "vocab_size": shape.vocab_size}


def gptj_names(shape: ModelShape) -> dict[str, Any]:
    return {**gpt2_names(shape), "tie_word_embeddings": shape.tie_embeddings}


def falcon_names(shape: ModelShape) -> dict[str, Any]:
    names = {
        key: llama_names(shape)[key] for key in ("vocab_size", "hidden_size", "num_attention_heads", "tie_word_embeddings")
    }
    new = shape.num_kv_heads > 1
    return {**names, "num_kv_heads": shape.num_kv_heads, "new_decoder_architecture": new, "ffn_hidden_size": shape.ffn_size}


def mpt_names(shape: ModelShape) -> dict[str, Any]:
    return {"vocab_size": shape.vocab_size, "d_model": shape.hidden_size, "n_heads": shape.num_heads}


def bloom_names(shape: ModelShape) -> dict[str, Any]:
    return {"vocab_size": shape.vocab_size, "hidden_size": shape.hidden_size, "n_head": shape.num_heads}


def opt_names(shape: ModelShape) -> dict[str, Any]:
    names = {key: llama_names(shape)[key] for key in ("vocab_size", "hidden_size", "num_attention_heads")}
    return {**names, "ffn_dim": shape.ffn_size, "max_position_embeddings": shape.max_seq_len}


CLASSES: dict[str, tuple[str, Callable[[ModelShape], dict[str, Any]]]] = {
    "llama": ("llama", llama_names), "qwen3": ("qwen3", llama_names), "qwen2": ("qwen2", llama_names),
    "gemma": ("gemma", llama_names), "gemma2": ("gemma2", llama_names), "gemma3": ("gemma3_text", llama_names),
    "olmo2": ("olmo2", llama_names), "phi": ("phi", llama_names), "phi3": ("phi3", llama_names),
    "gpt-neox": ("gpt_neox", llama_names), "qwen2-moe": ("qwen2_moe", qwen_moe_names),
    "qwen3-moe": ("qwen3_moe", qwen_moe_names), "mixtral": ("mixtral", mixtral_names),
    "deepseek-v3": ("deepseek_v3", deepseek_names), "gpt2": ("gpt2", gpt2_names), "gptj": ("gptj", gptj_names),
    "falcon": ("falcon", falcon_names), "mpt": ("mpt", mpt_names), "bloom": ("bloom", bloom_names), "opt": ("opt", opt_names),
}  # fmt: skip
LAYERS = {"gpt2": "n_layer", "gptj": "n_layer", "bloom": "n_layer", "mpt": "n_layers"}
UNKNOWN = {"chinchilla"}
"""Architectures that transformers has no class for."""


@pytest.mark.parametrize("name", preset_names(MODELS))
def test_a_preset_counts_what_its_class_has(name: str) -> None:
    """Two shallow instances give embedding and layer; the sum over all layers is linear in their number."""
    shape = find_shape(MODELS, name)
    if shape.architecture in UNKNOWN:
        pytest.skip(f"transformers has no class for {shape.architecture}")
    family, names = CLASSES[shape.architecture]
    first = 1 + (shape.experts.first_dense_layers if shape.experts else 0)
    one, two = (
        elements(transformers.AutoConfig.for_model(family, **names(shape), **{LAYERS.get(family, "num_hidden_layers"): layers}))
        for layers in (first, first + 1)
    )
    assert count_parameters(shape).value == one + (shape.num_layers - first) * (two - one)


@pytest.mark.parametrize(("family", "values"), dict(CONFIGS).items())
def test_forward_products_are_those_torch_counts(family: str, values: dict[str, Any], tmp_path: Path) -> None:
    """A forward pass over the whole square, counted by torch, is a third of `full`."""
    from torch.utils.flop_counter import FlopCounterMode

    config = transformers.AutoConfig.for_model(family, **values)
    config.save_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager")
    tokens = 24
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.randint(0, 96, (1, tokens)), use_cache=False)
    shape = replace(shape_from_hf(tmp_path), window=None)
    planned = flop_per_token(shape, tokens, "full").value / 3 * tokens
    assert counter.get_total_flops() == planned
