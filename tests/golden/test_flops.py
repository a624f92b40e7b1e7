"""FLOP per token of Llama-3-8B at s = 8192 in every convention, against other tools and published runs."""

from pathlib import Path

import pytest

from tuitrain_planners import by_convention, executed_flop_per_token, find_shape, flop_per_token

LLAMA = find_shape(Path(__file__).parents[2] / "presets" / "models", "llama-3-8b")
GPT2 = find_shape(Path(__file__).parents[2] / "presets" / "models", "gpt2")


@pytest.mark.parametrize(
    ("convention", "gflop"),
    [
        ("6n", 48.18),
        ("6n_nonembedding", 45.03),  # transformers total_flos; calflops under SDPA
        ("causal", 51.47),  # Megatron-LM
        ("full", 57.91),  # torchtitan, OLMo-core, nanotron, FlopCounterMode
    ],
)
def test_conventions(convention: str, gflop: float) -> None:
    assert flop_per_token(LLAMA, 8192, convention).value / 1e9 == pytest.approx(gflop, abs=0.005)


def test_recomputation_adds_a_forward_pass() -> None:
    full, again = flop_per_token(LLAMA, 8192, "full"), executed_flop_per_token(LLAMA, 8192, "full", "full")
    # llm-analysis repeats the head too and gets 77.22; here only the layers run twice.
    assert full.value * 4 / 3 / 1e9 == pytest.approx(77.22, abs=0.005)
    assert again.value == pytest.approx(full.value * 4 / 3 - full.term("head").value / 3, rel=1e-12)
    assert executed_flop_per_token(LLAMA, 8192, "selective", "full").value == full.value


@pytest.mark.parametrize(
    ("tflop_per_s", "tokens_per_s", "convention"),
    [(697, 12_036, "full"), (744, 14_451, "causal")],
    ids=["NeMo", "Megatron-Bridge"],
)
def test_published_runs_reveal_their_convention(tflop_per_s: float, tokens_per_s: float, convention: str) -> None:
    """TFLOP/s and tokens/s of one row give the FLOP per token the authors used. 0.1 %: the rows are rounded."""
    assert tflop_per_s * 1e12 / tokens_per_s == pytest.approx(flop_per_token(LLAMA, 8192, convention).value, rel=1e-3)


@pytest.mark.parametrize(
    ("model", "gflop"),
    [("deepseek-v3", 249.7), ("qwen3-30b-a3b", 22.97), ("qwen3-235b-a22b", 147.98)],
)
def test_mixtures_cost_what_megatron_bridge_counts(model: str, gflop: float) -> None:
    """TFLOP/s over tokens/s of its performance tables at s = 4096 (DeepSeek-V3 without MTP), medians of 4 to 8 rows.

    0.6 %: rows are rounded to three digits, and routers are not counted there.
    """
    shape = find_shape(Path(__file__).parents[2] / "presets" / "models", model)
    assert flop_per_token(shape, 4096).value / 1e9 == pytest.approx(gflop, rel=6e-3)


def test_nanogpt_prints_the_same_for_gpt2() -> None:
    """nanoGPT's transformer_sizing counts 874,944,921,600 FLOP per sequence of 1024: full attention, tied head once."""
    assert flop_per_token(GPT2, 1024, "full").value * 1024 == pytest.approx(874_944_921_600, rel=1e-6)


def test_all_conventions_are_offered() -> None:
    assert list(by_convention(GPT2, 1024)) == ["6n", "6n_nonembedding", "causal", "full", "with_recompute"]
