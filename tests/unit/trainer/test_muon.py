"""Muon: the update is orthogonal, the state dict restores it, AdamW takes the rest."""

from __future__ import annotations

import copy

import pytest
import torch
from unit.model.test_decoder import shape

from tuitrain.config.schema import OptimSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import init_weights
from tuitrain.trainer.muon import Muon, orthogonalise
from tuitrain.trainer.optim import Optimizers

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(32, 32), (64, 16), (16, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_end_near_one(size: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    result = orthogonalise(torch.randn(3, *size), dtype=dtype)
    values = torch.linalg.svdvals(result.float())
    assert values.min() > 0.7, values
    assert values.max() < 1.25, values


@pytest.mark.parametrize("size", [(16, 32), (32, 32), (128, 32), (64, 256)])
@pytest.mark.parametrize("rank", [1, 2, 8, 16])
def test_rounding_never_blows_a_singular_value_up(size: tuple[int, int], rank: int) -> None:
    """In bf16 a nearly singular momentum once came out with a singular value of 2914."""
    torch.manual_seed(rank)
    few = torch.randn(100, size[0], rank) @ torch.randn(100, rank, size[1])
    values = torch.linalg.svdvals(orthogonalise(few + 1e-3 * torch.randn(100, *size), dtype=torch.bfloat16).float())
    assert values.max() < 1.3, f"largest singular value {values.max():.3g}"


def test_the_direction_is_the_polar_factor() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(24, 24) + 3 * torch.eye(24)
    left, _, right = torch.linalg.svd(matrix)
    got = orthogonalise(matrix[None], dtype=torch.float32)[0]
    cosine = (got * (left @ right)).sum() / got.norm() / (left @ right).norm()
    assert cosine > 0.98


def test_matrices_of_one_shape_together_move_as_each_alone() -> None:
    torch.manual_seed(0)
    values, grads = torch.randn(3, 16, 16), torch.randn(3, 16, 16)

    def moved(groups: list[list[int]]) -> torch.Tensor:
        parameters = [torch.nn.Parameter(value.clone()) for value in values]
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad.clone()
        for group in groups:
            Muon([parameters[index] for index in group], lr=0.1, low_precision=False).step()
        return torch.stack([parameter.detach() for parameter in parameters])

    torch.testing.assert_close(moved([[0, 1, 2]]), moved([[0], [1], [2]]), rtol=1e-5, atol=1e-6)


def test_vectors_are_refused() -> None:
    with pytest.raises(AssertionError, match="moves matrices"):
        Muon([torch.nn.Parameter(torch.ones(4))], lr=0.1)


def trained(model: Decoder, optimizers: Optimizers, steps: int) -> None:
    for step in range(steps):
        torch.manual_seed(step)
        tokens = torch.randint(0, 128, (2, 16))
        torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
        optimizers.set_lr(1.0 - 0.1 * step)
        optimizers.step()
        optimizers.zero_grad()


def fresh(kind: str, architecture: str = "qwen3") -> tuple[Decoder, Optimizers]:
    model = Decoder(shape(architecture))
    init_weights(model, 0)
    config = (
        OptimSection(kind=kind, lr=0.01, embedding_lr=0.01, matrix_lr=0.02, weight_decay=0.1)
        if kind == "muon"
        else OptimSection(kind=kind, lr=0.01, weight_decay=0.1)
    )
    return model, Optimizers(model, config, device=CPU)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_every_parameter_moves(kind: str) -> None:
    model, optimizers = fresh(kind)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trained(model, optimizers, 3)
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_restored_optimizer_continues_bit_for_bit(kind: str) -> None:
    model, optimizers = fresh(kind)
    trained(model, optimizers, 3)
    other_model, other = fresh(kind)
    other_model.load_state_dict(model.state_dict())
    other.load_state_dict(copy.deepcopy(optimizers.state_dict()))
    trained(model, optimizers, 3)
    trained(other_model, other, 3)
    for (name, ours), (_, theirs) in zip(model.named_parameters(), other_model.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_the_step_count_advances() -> None:
    """OLMo-core's SkipStepAdamW once never advanced it."""
    model, optimizers = fresh("adamw")
    trained(model, optimizers, 3)
    steps = {float(state["step"]) for state in optimizers.all[0].state.values()}
    assert steps == {3.0}


def test_embeddings_and_gains_are_not_decayed() -> None:
    _, optimizers = fresh("adamw")
    decays = {
        group["weight_decay"]: sum(parameter.numel() for parameter in group["params"])
        for group in optimizers.all[0].param_groups
    }
    assert decays[0.0] > 0
    assert len(decays) == 2
