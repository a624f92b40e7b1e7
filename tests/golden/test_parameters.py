"""Parameter counts against the published ones: the sum of the tensors in each model's own checkpoint."""

from pathlib import Path

import pytest

from tuitrain_planners import (
    compute_optimal,
    count_parameters,
    find_shape,
    fit,
    flop_per_token,
    optimal_by_fit,
    preset_names,
    training_verdict,
)

MODELS = Path(__file__).parents[2] / "presets" / "models"
PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-large": 774_030_080,
    "gpt2-medium": 354_823_168,
    "gpt2-xl": 1_557_611_200,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-2-7b": 6_738_415_616,
    "llama-3-70b": 70_553_706_496,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "smollm2-1.7b": 1_711_376_384,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
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
    assert set(preset_names(MODELS)) == set(PUBLISHED) | set(GPT_3)


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
