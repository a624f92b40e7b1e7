"""FLOP of a step that trains adapters alone, against what torch counts forward and backward."""

from pathlib import Path
from typing import Any

import pytest

from tuitrain_planners import Adapter, adapter_parameters, flop_per_token, shape_from_hf

torch = pytest.importorskip("torch", reason="it counts the products")
transformers = pytest.importorskip("transformers", reason="the model is one of its classes")

LLAMA = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 24, "max_position_embeddings": 128, "pad_token_id": 0,
}  # fmt: skip
RANK, TOKENS = 8, 24


def with_adapters(module: Any) -> Any:
    """The frozen projection plus two thin ones behind each other (Hu et al. 2021)."""

    class Adapted(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.base = module
            self.down = torch.nn.Linear(module.in_features, RANK, bias=False)
            self.up = torch.nn.Linear(RANK, module.out_features, bias=False)

        def forward(self, x: Any) -> Any:
            return self.base(x) + self.up(self.down(x))

    return Adapted()


def test_a_step_of_lora_multiplies_what_is_planned(tmp_path: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config = transformers.AutoConfig.for_model("llama", **LLAMA)
    config.save_pretrained(tmp_path)
    shape, adapter = shape_from_hf(tmp_path), Adapter(rank=RANK)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").requires_grad_(False)
    for layer in model.model.layers:
        for block in (layer.self_attn, layer.mlp):
            for name in [name for name, each in block.named_children() if isinstance(each, torch.nn.Linear)]:
                setattr(block, name, with_adapters(getattr(block, name)))
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert adapter_parameters(shape, adapter).value == trained

    ids = torch.randint(0, 96, (1, TOKENS))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    planned = flop_per_token(shape, TOKENS, "full", adapter=adapter).value * TOKENS
    # What the plan leaves in: the input gradient of q, k, v and their adapters in the first layer, which nothing below needs.
    lowest = 2 * TOKENS * 64 * ((4 + 2 * 2) * 24 + 3 * RANK)
    assert counter.get_total_flops() == planned - lowest
