"""Bytes of optimizer states: planned against what real optimizers hold after a step on a small Llama, in 16 and 32 bits."""

from pathlib import Path
from typing import Any

import pytest

from tuitrain_planners import Adapter, optimizer, recipe, shape_from_hf
from tuitrain_planners.memory.holding import held
from tuitrain_planners.memory.moments import adapter_sizes, tensors
from tuitrain_planners.memory.states import optimizer_bytes, trained
from tuitrain_planners.parameters import adapter_parameters

pytestmark = pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning")

torch = pytest.importorskip("torch", reason="the states are those of its optimizers")
transformers = pytest.importorskip("transformers", reason="the model is its Llama")

SIZES = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "pad_token_id": 0, "tie_word_embeddings": False,
}  # fmt: skip
"""Keys and values stay below 4096 entries, the other matrices do not."""
REAL = {
    "adamw": torch.optim.AdamW,
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adafactor": transformers.Adafactor,
    "adamw-paged": lambda p: bitsandbytes().AdamW(p),
    "adamw-8bit": lambda p: bitsandbytes().AdamW8bit(p),
    "adamw-paged-8bit": lambda p: bitsandbytes().PagedAdamW8bit(p),
    "lion-8bit": lambda p: bitsandbytes().Lion8bit(p),
}
"""bitsandbytes' optimizers are paged on GPUs alone: their bytes are those of the others."""


def bitsandbytes() -> Any:
    return pytest.importorskip("bitsandbytes", reason="the states are those of its optimizers").optim


def live_bytes(name: str, weights: Any) -> int:
    config = transformers.LlamaConfig(**SIZES)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=weights)
    moved = REAL[name](list(model.parameters()))
    for each in model.parameters():
        each.grad = torch.ones_like(each)
    moved.step()
    return sum(
        value.nbytes
        for state in moved.state.values()
        for key, value in state.items()
        # not moments: single numbers, and the 256 levels that all 8-bit moments share
        if isinstance(value, torch.Tensor) and value.dim() and not key.startswith("qmap")
    )


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16-pure", "bfloat16")])
@pytest.mark.parametrize("name", REAL)
def test_states_are_as_large_as_planned(name: str, precision: str, dtype: str, tmp_path: Path) -> None:
    transformers.LlamaConfig(**SIZES).save_pretrained(tmp_path)
    holding = held(shape_from_hf(tmp_path))
    planned = optimizer_bytes(trained(holding, None), recipe(precision), optimizer(name)).whole
    assert planned.value == live_bytes(name, getattr(torch, dtype))


def test_sizes_of_adapters_add_up_to_their_count(tmp_path: Path) -> None:
    transformers.LlamaConfig(**SIZES).save_pretrained(tmp_path)
    shape, adapter = shape_from_hf(tmp_path), Adapter(rank=4, targets=("q", "v", "down", "head"))
    assert tensors(adapter_sizes(shape, adapter, head=True)).entries == adapter_parameters(shape, adapter).value
