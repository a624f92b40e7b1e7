"""Parameter counts against the published ones: the sum of the tensors in each model's own checkpoint."""

from pathlib import Path

import pytest

from tuitrain_planners import count_parameters, find_shape, preset_names

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


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_count_is_exact(name: str) -> None:
    assert count_parameters(find_shape(MODELS, name)).value == PUBLISHED[name]


def test_every_shipped_model_has_a_published_count() -> None:
    assert set(preset_names(MODELS)) == set(PUBLISHED)
