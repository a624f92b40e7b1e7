"""One optimizer step is one optimizer step, however it is cut: accumulation, processes, loss head. And a bad one changes
nothing."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.tiny import ALONE, SEQ_LEN, micro_batches, sequences, tiny_training

from tuitrain.trainer.batches import MicroBatch
from tuitrain.trainer.guards import StepGuard
from tuitrain.trainer.scaler import LossScaler
from tuitrain.trainer.step import StepResult, train_step

COUNT = 8


def take(module, optimizers, batches: list[MicroBatch], **changes) -> StepResult:
    arguments = {
        "expected_targets": COUNT * SEQ_LEN,
        "clip_norm": 1.0,
        "guard": None,
        "scaler": LossScaler(enabled=False),
    } | changes
    return train_step(module, optimizers, batches, ALONE, **arguments)


def weights(module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def assert_same(got: torch.Tensor, want: torch.Tensor, tolerance: float) -> None:
    difference = (got - want).abs()
    assert difference.max() <= tolerance, f"max {difference.max():.2e}, mean {difference.mean():.2e}"


def test_the_loss_is_the_mean_over_valid_tokens() -> None:
    module, optimizers = tiny_training()
    tokens, targets = sequences(COUNT)
    with torch.no_grad():
        want = torch.nn.functional.cross_entropy(module.decoder(tokens).flatten(0, 1), targets.flatten())
    result = take(module, optimizers, micro_batches(tokens, targets, 2))
    assert result.loss == pytest.approx(want.item(), rel=1e-6)
    assert result.tokens == int((targets >= 0).sum())


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_accumulation_changes_nothing(kind: str, micro_batch: int) -> None:
    """transformers #34191, torchtune #1875: the mean of micro-batch means is another loss."""
    tokens, targets = sequences(COUNT)
    whole, whole_optimizers = tiny_training(kind)
    cut, cut_optimizers = tiny_training(kind)
    for _ in range(3):
        a = take(whole, whole_optimizers, micro_batches(tokens, targets, COUNT))
        b = take(cut, cut_optimizers, micro_batches(tokens, targets, micro_batch))
        assert b.loss == pytest.approx(a.loss, rel=1e-6)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=1e-5)
    assert_same(weights(cut), weights(whole), 2e-5)


@pytest.mark.parametrize("architecture", ["llama", "nanochat"])
def test_the_chunked_head_trains_like_the_plain_one(architecture: str) -> None:
    tokens, targets = sequences(COUNT)
    plain, plain_optimizers = tiny_training(architecture=architecture, head="plain")
    chunked, chunked_optimizers = tiny_training(architecture=architecture, head="chunked")
    for _ in range(3):
        a = take(plain, plain_optimizers, micro_batches(tokens, targets, 4))
        b = take(chunked, chunked_optimizers, micro_batches(tokens, targets, 4))
        assert b.loss == pytest.approx(a.loss, rel=1e-6)
    assert_same(weights(chunked), weights(plain), 2e-5)


def test_clipping_scales_the_whole_gradient() -> None:
    tokens, targets = sequences(COUNT)
    module, optimizers = tiny_training()
    norm = take(module, optimizers, micro_batches(tokens, targets, COUNT), clip_norm=None).grad_norm
    seen: list[float] = []
    module, optimizers = tiny_training()
    step = optimizers.step

    def spy() -> None:
        seen.append(float(torch.nn.utils.get_total_norm(optimizers.gradients())))
        step()

    optimizers.step = spy
    take(module, optimizers, micro_batches(tokens, targets, COUNT), clip_norm=norm / 4)
    assert seen == [pytest.approx(norm / 4, rel=1e-4)]


def test_no_valid_token_at_all_is_no_crash() -> None:
    module, optimizers = tiny_training()
    tokens, targets = sequences(COUNT)
    before = weights(module)
    result = take(
        module, optimizers, micro_batches(tokens, torch.full_like(targets, -100), 4), guard=StepGuard(sigma=6.0, window=16)
    )
    assert (result.loss, result.tokens) == (0.0, 0)
    assert torch.isfinite(weights(module)).all()
    assert before.shape == weights(module).shape


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_non_finite_step_changes_no_weight(poison: float) -> None:
    module, optimizers = tiny_training()
    tokens, targets = sequences(COUNT)
    take(module, optimizers, micro_batches(tokens, targets, 4))
    before = weights(module).clone()
    saved = module.decoder.model.embed_tokens.weight.data[tokens[0, 0]].clone()
    module.decoder.model.embed_tokens.weight.data[tokens[0, 0]] = poison
    poisoned = weights(module).clone()
    result = take(module, optimizers, micro_batches(tokens, targets, 4), guard=StepGuard(sigma=6.0, window=16))
    assert result.trip is not None
    assert result.trip.reason.startswith("non_finite")
    assert torch.equal(weights(module).nan_to_num(), poisoned.nan_to_num())
    assert optimizers.gradients() == []
    module.decoder.model.embed_tokens.weight.data[tokens[0, 0]] = saved
    assert torch.equal(weights(module), before)
    assert take(module, optimizers, micro_batches(tokens, targets, 4), guard=StepGuard(sigma=6.0, window=16)).trip is None


def test_fp16_overflow_halves_the_scale_and_changes_no_weight() -> None:
    module, optimizers = tiny_training(dtype=torch.float16)
    scaler = LossScaler(enabled=True, scale=2.0**40)
    tokens, targets = sequences(COUNT)
    before = weights(module).clone()
    result = take(module, optimizers, micro_batches(tokens, targets, 4), scaler=scaler, guard=StepGuard(sigma=6.0, window=16))
    assert result.overflowed
    assert result.trip is None
    assert scaler.scale == 2.0**39
    assert torch.equal(weights(module), before)


def test_fp16_with_a_sane_scale_follows_fp32() -> None:
    tokens, targets = sequences(COUNT)
    half, half_optimizers = tiny_training(dtype=torch.float16)
    full, full_optimizers = tiny_training()
    scaler = LossScaler(enabled=True, scale=2.0**10)
    for _ in range(3):
        a = take(full, full_optimizers, micro_batches(tokens, targets, 4))
        b = take(half, half_optimizers, micro_batches(tokens, targets, 4), scaler=scaler)
        assert b.loss == pytest.approx(a.loss, rel=2e-3)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=2e-2)


def test_the_scale_grows_after_enough_good_steps() -> None:
    scaler = LossScaler(enabled=True, scale=4.0)
    for _ in range(500):
        scaler.went_well()
    assert scaler.scale == 8.0


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_two_processes_train_as_one(kind: str, tmp_path: Path) -> None:
    """Same global batch, unequal numbers of trained tokens per process: torchtitan #2206."""
    tokens, targets = sequences(COUNT)
    module, optimizers = tiny_training(kind)
    results = [take(module, optimizers, micro_batches(tokens, targets, 2)) for _ in range(3)]
    script = Path(__file__).with_name("two_ranks.py")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d",
        "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1", str(script), kind, str(tmp_path),
    ]  # fmt: skip
    env = {**__import__("os").environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(ranks[0]["weights"], ranks[1]["weights"]), "the processes drifted apart"
    assert_same(ranks[0]["weights"], weights(module), 2e-5)
    for index, result in enumerate(results):
        assert ranks[0]["loss"][index] == pytest.approx(result.loss, rel=1e-6)
        assert ranks[0]["grad_norm"][index] == pytest.approx(result.grad_norm, rel=1e-5)
        assert ranks[0]["tokens"][index] == result.tokens
