"""Parameter counts against the published ones: the sum of the tensors in each model's own checkpoint."""

from dataclasses import replace
from pathlib import Path

import pytest

from tuitrain_planners import (
    active_parameters,
    compute_optimal,
    count_parameters,
    expert_parameters,
    find_shape,
    fit,
    flop_per_token,
    optimal_by_fit,
    preset_names,
    training_verdict,
)

MODELS = Path(__file__).parents[2] / "presets" / "models"
PUBLISHED = {
    "bloom-176b": 176_247_271_424,
    "bloom-7b1": 7_069_016_064,
    "deepseek-v3": 671_026_419_200,
    "falcon-40b": 41_303_293_952,
    "falcon-7b": 6_921_720_704,
    "gemma-2-27b": 27_227_128_320,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2b": 2_506_172_416,
    "gemma-3-12b": 11_766_034_176,
    "gemma-3-1b": 999_885_952,
    "gemma-3-27b": 27_009_346_304,
    "gemma-3-4b": 3_880_263_168,
    "gemma-7b": 8_537_680_896,
    "gpt-j-6b": 6_050_882_784,
    "gpt-neox-20b": 20_554_567_680,
    "gpt2-large": 774_030_080,
    "gpt2-medium": 354_823_168,
    "gpt2-xl": 1_557_611_200,
    "gpt2": 124_439_808,
    "llama-13b": 13_015_864_320,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-2-7b": 6_738_415_616,
    "llama-3-70b": 70_553_706_496,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.3-70b": 70_553_706_496,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-7b": 6_738_415_616,
    "mistral-7b": 7_241_732_096,
    "mistral-nemo-12b": 12_247_782_400,
    "mixtral-8x22b": 140_620_634_112,
    "mixtral-8x7b": 46_702_792_704,
    "mpt-7b": 6_649_286_656,
    "olmo-2-13b": 13_716_198_400,
    "olmo-2-1b": 1_484_916_736,
    "olmo-2-32b": 32_234_279_936,
    "olmo-2-7b": 7_298_617_344,
    "opt-6.7b": 6_658_473_984,
    "phi-1.5": 1_418_270_720,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,
    "phi-4": 14_659_507_200,
    "pythia-1.4b": 1_414_647_808,
    "pythia-12b": 11_846_072_320,
    "pythia-160m": 162_322_944,
    "pythia-1b": 1_011_781_632,
    "pythia-2.8b": 2_775_208_960,
    "pythia-410m": 405_334_016,
    "pythia-6.9b": 6_857_302_016,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-72b": 72_706_203_648,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-14b": 14_768_307_200,
    "qwen3-235b-a22b": 235_093_634_560,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-32b": 32_762_123_264,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "smollm2-1.7b": 1_711_376_384,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm3-3b": 3_075_098_624,
    "tinyllama-1.1b": 1_100_048_384,
}
GPT_3 = {
    "gpt3-large": (760e6, 1.37e21),
    "gpt3-2.7b": (2.65e9, 4.77e21),
    "gpt3-6.7b": (6.66e9, 1.20e22),
    "gpt3-175b": (174.6e9, 3.14e23),
}
"""Brown et al. (2020), table D.1: parameters and training FLOP."""


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_count_is_exact(name: str) -> None:
    assert count_parameters(find_shape(MODELS, name)).value == PUBLISHED[name]


def test_every_shipped_model_has_a_published_count() -> None:
    assert set(preset_names(MODELS)) == set(PUBLISHED) | set(GPT_3) | {"chinchilla-70b"}


def test_chinchilla_has_the_70_billion_of_its_name() -> None:
    """Gopher's 280 billion come from the same formula (Rae et al. 2021): 80 layers of width 16384 with relative positions."""
    chinchilla = find_shape(MODELS, "chinchilla-70b")
    assert count_parameters(chinchilla).value == pytest.approx(70e9, rel=0.002)
    gopher = replace(chinchilla, hidden_size=16384, num_heads=128, num_kv_heads=128, ffn_size=65536)
    assert count_parameters(gopher).value == pytest.approx(280e9, rel=0.002)


@pytest.mark.parametrize(
    ("name", "active"),
    [
        ("mixtral-8x7b", 12.9e9),  # Jiang et al. 2024: "13B active parameters"
        ("mixtral-8x22b", 39e9),  # the announcement: "39B active parameters out of 141B"
        ("qwen3-30b-a3b", 3.3e9),  # the model's card
        ("qwen3-235b-a22b", 22e9),  # the model's card
        ("qwen1.5-moe-a2.7b", 2.7e9),  # its name
        ("deepseek-v3", 37e9),  # the report: "37B activated for each token"
    ],
)
def test_active_parameters_are_the_published_ones(name: str, active: float) -> None:
    """2 %: published figures are rounded, and some leave the embedding out."""
    shape = find_shape(MODELS, name)
    found = active_parameters(shape).value
    assert found == pytest.approx(active, rel=0.02)
    assert expert_parameters(shape) + found > count_parameters(shape).value > found


@pytest.mark.parametrize("name", sorted(GPT_3))
def test_gpt_3_is_as_its_own_table_has_it(name: str) -> None:
    """Parameters rounded as printed; compute as 6 N D over 300 B tokens; far too few tokens for the size."""
    parameters, flop = GPT_3[name]
    shape = find_shape(MODELS, name)
    assert count_parameters(shape).value == pytest.approx(parameters, rel=0.005)
    assert flop_per_token(shape, 2048, "6n").value * 300e9 == pytest.approx(flop, rel=0.005)
    if name == "gpt3-175b":
        tokens_per_parameter = 300e9 / count_parameters(shape).value
        assert tokens_per_parameter == pytest.approx(1.7, abs=0.05)
        assert "under-trained" in training_verdict(300e9, optimal_by_fit(parameters)["epoch"].value)


@pytest.mark.parametrize(
    ("parameters", "tokens", "flop", "rel"),
    [
        (400e6, 8.0e9, 1.92e19, 0.01),
        (10e9, 205.1e9, 1.23e22, 0.01),
        (67e9, 1.5e12, 5.76e23, 0.06),  # the budget is Gopher's, the tokens are rounded up
        (175e9, 3.7e12, 3.85e24, 0.01),
        (10e12, 216.2e12, 1.30e28, 0.01),
    ],
)
def test_chinchillas_own_table(parameters: float, tokens: float, flop: float, rel: float) -> None:
    """Hoffmann et al. (2022), table 3: the budget gives parameters and tokens back, and 6 N D is the budget."""
    n, d = compute_optimal(fit("chinchilla-1"), flop)
    assert n.value == pytest.approx(parameters, rel=0.01)
    assert d.value == pytest.approx(tokens, rel=rel)
    assert 6 * n.value * d.value == pytest.approx(flop)
