"""The native decoder is the transformers model of the same name, and recomputation changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from tuitrain.errors import CheckpointError
from tuitrain.files import read_json, write_json
from tuitrain.model.decoder import Decoder
from tuitrain.model.hf import from_hf_config, load_model, save_model, to_hf_config
from tuitrain.model.init import init_weights, parameter_roles
from tuitrain.model.shape import DecoderShape

ARCHITECTURES = ("llama", "qwen3", "nanochat")


def shape(architecture: str, **changes: object) -> DecoderShape:
    small = DecoderShape(
        architecture=architecture,
        vocab_size=128,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        ffn_size=96,
        tie_embeddings=False,
        max_seq_len=64,
        logit_softcap=15.0 if architecture == "nanochat" else None,
    )
    return dataclasses.replace(small, **changes)


def random_model(kind: DecoderShape) -> Decoder:
    """A model whose every weight matters (fresh ones have zeros)."""
    torch.manual_seed(0)
    model = Decoder(kind)
    init_weights(model, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("tied", [False, True])
def test_transformers_loads_it_and_agrees(architecture: str, tied: bool, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = random_model(shape(architecture, tie_embeddings=tied))
    save_model(model, tmp_path, eos_id=0)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokens = torch.randint(0, 128, (2, 50))
    with torch.no_grad():
        difference = (model(tokens) - theirs(tokens).logits).abs().max()
    assert difference < 1e-4, f"{type(theirs).__name__}: largest difference {difference:.2e}"
    assert sum(parameter.numel() for parameter in model.parameters()) == theirs.num_parameters()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("tied", [False, True])
def test_save_and_load_is_the_identity(architecture: str, tied: bool, tmp_path: Path) -> None:
    model = random_model(shape(architecture, tie_embeddings=tied))
    save_model(model, tmp_path, eos_id=0)
    again = load_model(tmp_path)
    assert again.shape == model.shape
    for (name, ours), (_, theirs) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_the_config_round_trips() -> None:
    for architecture in ARCHITECTURES:
        kind = shape(architecture)
        assert from_hf_config(to_hf_config(kind, eos_id=0, dtype=torch.float32)) == kind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba'"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rotary"),
        ({"attention_bias": True}, "attention_bias"),
    ],
)
def test_what_the_decoder_would_compute_differently_is_refused(change: dict, message: str, tmp_path: Path) -> None:
    save_model(random_model(shape("llama")), tmp_path, eos_id=0)
    write_json(tmp_path / "config.json", read_json(tmp_path / "config.json") | change)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)


def test_a_damaged_weight_file_is_told(tmp_path: Path) -> None:
    save_model(random_model(shape("llama")), tmp_path, eos_id=0)
    (tmp_path / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    save_model(random_model(shape("llama")), tmp_path, eos_id=0)
    config = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", config | {"intermediate_size": 128})
    with pytest.raises(CheckpointError, match="another model"):
        load_model(tmp_path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputation_changes_no_gradient(architecture: str, recompute: str) -> None:
    model = random_model(shape(architecture))
    tokens = torch.randint(0, 128, (2, 16))

    def gradients(kind: str) -> list[torch.Tensor]:
        model.recompute = kind
        return list(torch.autograd.grad(model(tokens).square().mean(), list(model.parameters())))

    for ours, plain in zip(gradients(recompute), gradients("none"), strict=True):
        assert torch.equal(ours, plain)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_documents_equal_documents_alone(architecture: str) -> None:
    model = random_model(shape(architecture))
    tokens = torch.randint(0, 128, (1, 40))
    ids = (torch.arange(40) >= 25).long()[None]
    positions = torch.cat([torch.arange(25), torch.arange(15)])[None]
    with torch.no_grad():
        packed, alone = model(tokens, ids, positions), model(tokens[:, 25:])
    assert (packed[:, 25:] - alone).abs().max() < 1e-5


def test_the_first_loss_is_the_logarithm_of_the_vocabulary() -> None:
    model = Decoder(shape("nanochat"))
    init_weights(model, 0)
    with torch.no_grad():
        assert torch.equal(model(torch.randint(0, 128, (1, 8))), torch.zeros(1, 8, 128))


def test_initial_weights_depend_on_the_seed_alone() -> None:
    first, second, other = (Decoder(shape("qwen3")) for _ in range(3))
    torch.manual_seed(1)
    init_weights(first, 7)
    torch.manual_seed(2)
    init_weights(second, 7)
    init_weights(other, 8)
    pairs = list(zip(first.parameters(), second.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not torch.equal(first.model.embed_tokens.weight, other.model.embed_tokens.weight)


@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_has_exactly_one_role(tied: bool) -> None:
    model = Decoder(shape("qwen3", tie_embeddings=tied))
    named = [name for pairs in parameter_roles(model).values() for name, _ in pairs]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())


def test_bf16_compute_keeps_fp32_weights() -> None:
    model = Decoder(shape("llama"), compute_dtype=torch.bfloat16)
    init_weights(model, 0)
    hidden = model.hidden(torch.randint(0, 128, (1, 8)))
    assert hidden.dtype == torch.bfloat16
    assert model.lm_head.weight.dtype == torch.float32
