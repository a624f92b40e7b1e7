"""Shapes: checked sizes, the depth dial, presets read strictly."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain_planners import (
    Experts,
    LatentAttention,
    ModelShape,
    PlanError,
    SlidingWindow,
    by_depth,
    count_parameters,
    find_shape,
    load_shape,
    native_gap,
    preset_names,
)
from tuitrain_planners.families import BY_DEPTH
from tuitrain_planners.shapes import swiglu_size

SIZES: dict[str, object] = {
    "name": "x", "architecture": "llama", "vocab_size": 100, "hidden_size": 64, "num_layers": 2, "num_heads": 4,
    "num_kv_heads": 2, "head_dim": 16, "ffn_size": 192, "max_seq_len": 128, "tie_embeddings": True,
}  # fmt: skip

EXPERTS = Experts(num=8, per_token=2, ffn_size=32)
LATENT = LatentAttention(kv_rank=8, q_rank=None, nope_head_dim=16, rope_head_dim=8, value_head_dim=16)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"vocab_size": -5}, "vocab_size is -5"),
        ({"num_layers": 2.0}, "num_layers is 2.0"),
        ({"num_layers": True}, "num_layers is True"),
        ({"num_kv_heads": 3}, "num_heads 4 is not a multiple of num_kv_heads 3"),
        ({"head_dim": 15}, "head_dim 15 is odd"),
        ({"architecture": "lama"}, "unknown architecture 'lama'"),
    ],
)
def test_wrong_sizes_are_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(PlanError) as caught:
        ModelShape(**{**SIZES, **change})  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert caught.value.hint
    assert caught.value.kind == "usage"


def test_the_error_tells_what_to_do_below_a_blank_line() -> None:
    with pytest.raises(PlanError) as caught:
        by_depth(4, 100, "nanochatt")
    first, blank, hint = str(caught.value).split("\n")
    assert first == "error: unknown architecture 'nanochatt'"
    assert blank == ""
    assert hint.startswith("hint: did you mean 'nanochat'?")


@given(depth=st.integers(1, 40), vocab=st.integers(1, 200_000), architecture=st.sampled_from(BY_DEPTH))
def test_the_dial_sets_width_heads_and_feed_forward(depth: int, vocab: int, architecture: str) -> None:
    shape = by_depth(depth, vocab, architecture)
    assert (shape.hidden_size, shape.num_layers, shape.vocab_size) == (64 * depth, depth, vocab)
    assert shape.num_heads * shape.head_dim == shape.hidden_size
    if shape.gated_ffn:
        assert shape.ffn_size % 64 == 0
        assert 0 <= shape.ffn_size - 8 * shape.hidden_size / 3 < 64
    else:
        assert shape.ffn_size == 4 * shape.hidden_size


@given(depth=st.integers(1, 31), vocab=st.integers(1, 100_000), architecture=st.sampled_from(BY_DEPTH), tied=st.booleans())
def test_parameters_grow_with_depth(depth: int, vocab: int, architecture: str, tied: bool) -> None:
    shallow, deep = (count_parameters(by_depth(each, vocab, architecture, tie_embeddings=tied)) for each in (depth, depth + 1))
    assert deep.value > shallow.value


def test_untying_adds_exactly_one_table() -> None:
    tied, untied = (count_parameters(by_depth(6, 5000, "llama", tie_embeddings=each)) for each in (True, False))
    assert untied.value - tied.value == 5000 * 384 == untied.term("head").value
    assert tied.term("head").value == 0


def test_the_dial_ties_small_models_and_never_nanochat() -> None:
    assert by_depth(4, 8192, "llama").tie_embeddings
    assert not by_depth(32, 65536, "llama").tie_embeddings
    assert not by_depth(4, 8192, "nanochat").tie_embeddings


def test_a_wide_head_still_leaves_one() -> None:
    assert by_depth(1, 100, head_dim=128).num_heads == 1


def test_nanochat_has_no_norm_weights_and_qwen3_normalises_heads() -> None:
    assert count_parameters(by_depth(3, 100)).term("norms").value == 0
    llama, qwen = (count_parameters(by_depth(3, 100, name)).term("norms").value for name in ("llama", "qwen3"))
    assert qwen - llama == 3 * 2 * 64


def test_swiglu_width_of_llama_1b_like_sizes() -> None:
    assert swiglu_size(4096, multiple=256) == 11008  # Llama 2 7B
    assert swiglu_size(768) == 2048


def test_an_unknown_preset_names_the_nearest(model_presets: Path) -> None:
    with pytest.raises(PlanError) as caught:
        find_shape(model_presets, "lama-3-8b")
    assert "'llama-3-8b'" in caught.value.hint
    assert "gpt2" in preset_names(model_presets)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("ffn_size = 3072", ""), "lacks ffn_size"),
        (("ffn_size", "fnn_size"), "unknown key 'fnn_size'"),
        (("num_layers = 12", "num_layers = 13"), "the file says 124,439,808"),
        (("num_layers = 12", "num_layers = twelve"), "is not valid TOML"),
    ],
)
def test_a_broken_preset_is_refused_with_its_path(
    edit: tuple[str, str], words: str, model_presets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((model_presets / "gpt2.toml").read_text().replace(*edit))
    with pytest.raises(PlanError) as caught:
        load_shape(path)
    assert words in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("preset", "edit", "words"),
    [
        ("mixtral-8x7b", ("per_token = 2", "per_token = 9"), "9 per token of 8"),
        ("mixtral-8x7b", ("num = 8", "number = 8"), "unknown key of [experts] 'number'"),
        ("mixtral-8x7b", ("num = 8", ""), "[experts] lacks num"),
        ("deepseek-v3", ("value_head_dim = 128", ""), "[latent] lacks value_head_dim"),
        ("deepseek-v3", ("head_dim = 192", "head_dim = 128"), "head_dim 128 of queries with 128 + 64"),
        ("deepseek-v3", ("first_dense_layers = 3", "first_dense_layers = 61"), "61 dense layers of 61"),
        ("deepseek-v3", ("num_kv_heads = 128", "num_kv_heads = 1"), "1 key/value heads of 128"),
        ("mistral-7b", ("[window]\nsize = 4096\nnum_layers = 32", "window = 4096"), "window is 4096"),
    ],
)
def test_parts_of_a_preset_are_read_strictly(
    preset: str, edit: tuple[str, str], words: str, model_presets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((model_presets / f"{preset}.toml").read_text().replace(*edit, 1))
    with pytest.raises(PlanError) as caught:
        load_shape(path)
    assert words in caught.value.message


@pytest.mark.parametrize("architecture", ["mixtral", "qwen2-moe", "qwen3-moe", "deepseek-v3"])
def test_a_depth_says_nothing_about_experts(architecture: str) -> None:
    with pytest.raises(PlanError, match="says nothing about the experts") as caught:
        by_depth(4, 8192, architecture)
    assert "llama" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "mixtral"}, "mixtral without experts"),
        ({"experts": EXPERTS, "ffn_bias": True}, "experts with biases"),
        ({"latent": LATENT, "head_dim": 24}, "llama with latent attention"),
        ({"norms_per_layer": 0}, "norms_per_layer is 0"),
        ({"position_offset": -1}, "position_offset is -1"),
        ({"qk_norm": True, "wide_qk_norm": True}, "both qk_norm and wide_qk_norm"),
        ({"window": SlidingWindow(size=8, num_layers=3)}, "3 layers with windows of 2"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        ModelShape(**{**SIZES, **change})  # type: ignore[arg-type]


def test_what_the_native_decoder_lacks_is_named() -> None:
    llama = ModelShape(**SIZES)  # type: ignore[arg-type]
    assert native_gap(llama) is None
    assert native_gap(by_depth(4, 8192)) is None
    assert native_gap(by_depth(4, 8192, "qwen3")) is None
    assert native_gap(replace(llama, experts=EXPERTS)) == "experts"
    assert native_gap(replace(llama, qkv_bias=True)) == "qkv_bias = True"
    assert "bloom" in str(native_gap(by_depth(4, 8192, "bloom")))


def test_a_missing_file_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read"):
        load_shape(tmp_path / "none.toml")
