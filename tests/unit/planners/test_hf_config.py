"""Shapes from Hugging Face configurations: exact where understood, refused where not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tuitrain_planners import PlanError, by_parameters, count_parameters, find_shape, shape_from_hf

LLAMA = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "torch_dtype": "bfloat16", "attention_bias": False, "use_cache": True,
}  # fmt: skip
QWEN = {
    "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960,
    "tie_word_embeddings": True, "use_sliding_window": False, "sliding_window": None, "max_window_layers": 28,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "n_ctx": 1024,
    "activation_function": "gelu_new",
}  # fmt: skip
GEMMA = {
    "model_type": "gemma2", "vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 8192,
}  # fmt: skip


def written(folder: Path, config: dict[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(("config", "parameters"), [(LLAMA, 8_030_261_248), (QWEN, 596_049_920), (GPT2, 124_439_808)])
def test_counts_are_the_published_ones(config: dict[str, Any], parameters: int, tmp_path: Path) -> None:
    path = written(tmp_path, config)
    for given in (path, tmp_path):
        assert count_parameters(shape_from_hf(given)).value == parameters


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_experts": 8}, "num_experts of a llama model is not understood"),
        ({"model_type": "mamba2"}, "unknown model_type 'mamba2'"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"hidden_size": "4096"}, "hidden_size is '4096'"),
        ({"sliding_window": 4096}, "llama models have none"),
        ({"model_type": "mistral", "attention_bias": True}, "attention_bias is True"),
        ({"model_type": "qwen2", "mlp_bias": False}, "attention_bias, mlp_bias of a qwen2 model are not understood"),
        ({"model_type": "mixtral", "num_local_experts": "8"}, "num_local_experts is '8'"),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": 2}, "decoder_sparse_step is 2"),
        ({"model_type": "qwen2_moe", "mlp_only_layers": [3]}, "only dense layers at the start"),
        ({"model_type": "deepseek_v3", "attention_bias": True}, "attention_bias is True"),
        ({"model_type": "gemma2", "use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        ({"model_type": "gemma3"}, "text_config is no gemma3_text"),
        ({"model_type": "gemma3", "text_config": {**QWEN, "model_type": "gemma3_text"}}, "text_config.max_window_layers"),
        ({"model_type": "opt", "word_embed_proj_dim": 512}, "word_embed_proj_dim is 512"),
        ({"model_type": "mpt", "attn_config": {"alibi": False}}, "attn_config.alibi is False"),
        ({"layer_types": ["chunked_attention"] * 32}, "layers of type chunked_attention"),
        ({"model_type": "qwen3", "layer_types": ["sliding_attention"] * 32, "sliding_window": 8}, "use_sliding_window off"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'"),
        ({"num_key_value_heads": 5}, "not a multiple"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "does not name 32 layers"),
    ],
)
def test_what_would_be_a_guess_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=words):
        shape_from_hf(written(tmp_path, {**LLAMA, **change}))


@pytest.mark.parametrize(
    ("config", "size", "layers"),
    [
        ({**LLAMA, "model_type": "mistral", "sliding_window": 4096}, 4096, 32),
        ({**LLAMA, "model_type": "mistral"}, 4096, 32),
        ({**LLAMA, "model_type": "mistral", "sliding_window": None}, None, 0),
        ({**QWEN, "use_sliding_window": True, "sliding_window": 512, "max_window_layers": 20}, 512, 8),
        ({**QWEN, "sliding_window": 512, "max_window_layers": 20}, None, 0),
        ({**GEMMA, "model_type": "gemma2"}, 4096, 13),
        ({**GEMMA, "model_type": "gemma3_text", "sliding_window": 512, "sliding_window_pattern": 6}, 512, 22),
        ({**GEMMA, "model_type": "gemma2", "layer_types": ["sliding_attention"] * 5 + ["full_attention"] * 21}, 4096, 5),
    ],
)
def test_windows_are_read_by_the_familys_rule(config: dict[str, Any], size: int | None, layers: int, tmp_path: Path) -> None:
    window = shape_from_hf(written(tmp_path, config)).window
    assert (window.size, window.num_layers) == (size, layers) if window else (size, layers) == (None, 0)


def test_a_missing_or_broken_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read"):
        shape_from_hf(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(PlanError, match="not valid JSON"):
        shape_from_hf(tmp_path)


def test_defaults_are_the_familys_own(tmp_path: Path) -> None:
    """Grouped heads missing: as many as query heads. Qwen3's heads are 128 wide whatever the width."""
    bare = {key: value for key, value in LLAMA.items() if key not in ("num_key_value_heads", "tie_word_embeddings")}
    shape = shape_from_hf(written(tmp_path, bare))
    assert (shape.num_kv_heads, shape.tie_embeddings, shape.head_dim) == (32, False, 128)
    qwen = {key: value for key, value in QWEN.items() if key != "head_dim"}
    assert shape_from_hf(written(tmp_path, qwen)).head_dim == 128


def test_seven_billion_is_llama_2(model_presets: Path) -> None:
    found, llama = by_parameters(7e9), find_shape(model_presets, "llama-2-7b")
    assert count_parameters(found).value == count_parameters(llama).value
    assert count_parameters(by_parameters(70e9)).value == pytest.approx(70e9, rel=0.05)
    with pytest.raises(PlanError, match="1,000 parameters"):
        by_parameters(1000)
