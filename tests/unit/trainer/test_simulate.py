"""A simulated step against a real one, byte by byte; and ZeRO-3 against what its name promises."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.live_bytes import peak_live_bytes
from torch import Tensor

from tuitrain.config.schema import OptimSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.shape import DecoderShape
from tuitrain.trainer.batches import MicroBatch
from tuitrain.trainer.live_bytes import LiveBytes
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.precision import RECIPES
from tuitrain.trainer.scaler import LossScaler
from tuitrain.trainer.simulate import Request, simulate
from tuitrain.trainer.simulated import LOGIT_SOFTCAP
from tuitrain.trainer.step import train_step

SHAPE = {
    "architecture": "llama", "vocab_size": 3000, "hidden_size": 128, "num_layers": 3, "num_heads": 4, "num_kv_heads": 2,
    "head_dim": 32, "ffn_size": 384, "tie_embeddings": False, "max_seq_len": 128,
}  # fmt: skip
ON_CPU = Request(shape=SHAPE, seq_len=128, micro_batch=2, device="cpu", precision="fp32")


def real_peak(request: Request) -> int:
    """Peak of live tensors over two real steps of the same question."""
    kind, shape = RECIPES[request.precision], DecoderShape(**request.shape)
    if shape.architecture == "nanochat":
        shape = replace(shape, logit_softcap=LOGIT_SOFTCAP)
    device = torch.device("cpu")

    def run() -> None:
        decoder = Decoder(shape, compute_dtype=kind.compute).to(kind.weights)
        decoder.recompute = request.recompute
        loss = LanguageModelLoss(decoder, head=request.loss)
        section = OptimSection(kind=request.optimizer, lr=1e-3, embedding_lr=1e-2, matrix_lr=1e-2, weight_decay=0.1)
        optimizers = Optimizers(decoder, section, device=device)
        tokens = torch.zeros(request.micro_batch, request.seq_len, dtype=torch.long)
        batches = [
            MicroBatch(tokens=tokens.clone(), targets=tokens.clone(), valid=tokens.numel()) for _ in range(request.grad_accum)
        ]
        for _ in range(2):
            train_step(
                loss, optimizers, batches, World(rank=0, size=1, device=device), clip_norm=1.0, guard=None,
                expected_targets=tokens.numel() * request.grad_accum, scaler=LossScaler(enabled=kind.scaled_loss),
            )  # fmt: skip

    return peak_live_bytes(run)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recompute": "full", "precision": "bf16-mixed"},
        {"loss": "plain", "precision": "bf16-mixed", "grad_accum": 2},
        {"optimizer": "muon", "recompute": "selective"},
        {"precision": "bf16-pure", "shape": {**SHAPE, "architecture": "qwen3", "tie_embeddings": True}},
        {"shape": {**SHAPE, "architecture": "nanochat", "ffn_size": 512}, "loss": "plain"},
    ],
)
def test_a_simulated_peak_is_the_peak_of_a_real_step(changes: dict) -> None:
    request = replace(ON_CPU, **changes)
    assert simulate(request)["peak_bytes"] == pytest.approx(real_peak(request), rel=0.01)


def terms(request: Request, phase: str) -> dict[str, int]:
    return next(each["terms"] for each in simulate(request)["phases"] if each["name"] == phase)


@pytest.mark.parametrize("ranks", [2, 8])
def test_zero_3_holds_an_nth_of_weights_gradients_and_moments(ranks: int) -> None:
    alone = terms(ON_CPU, "optimizer")
    shared = terms(replace(ON_CPU, ranks=ranks, zero=3), "optimizer")
    for state in ("weights", "gradients", "optimizer"):  # every size here divides by 8; "step" of each AdamW state does not
        assert shared[state] == pytest.approx(alone[state] / ranks, rel=1e-3), state


def test_what_is_gathered_goes_again_unless_it_is_to_stay() -> None:
    shared = replace(ON_CPU, ranks=2, zero=3, recompute="full")
    gives_back, keeps = (terms(replace(shared, reshard=each), "backward_start")["gathered"] for each in (True, False))
    layer = 4 * (128 * (128 + 64 + 64 + 128 + 3 * 384) + 2 * 128)
    assert gives_back <= 3 * layer
    assert keeps >= 4 * 3000 * 128 + 3 * layer  # the head's is given back once its own backward is done


def test_a_gpus_step_keeps_no_scores_in_16_bits() -> None:
    """Doubling the sequence at half the batch leaves a flash step's activations as they are."""
    request = replace(ON_CPU, device="gpu", precision="bf16-mixed")
    short = terms(request, "forward")["activations"]
    long = terms(replace(request, seq_len=256, micro_batch=1, shape={**SHAPE, "max_seq_len": 256}), "forward")["activations"]
    assert long == pytest.approx(short, rel=1e-3)


def in_place(gradient: Callable[[Tensor], Tensor], *, traced: bool) -> bool:
    """Whether the second of two equal gradients of a weight is added into the first."""
    made = []

    class Lookup(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: Tensor) -> Tensor:
            return weight.sum()

        @staticmethod
        def backward(ctx: Any, of_sum: Tensor) -> Tensor:
            result = gradient(of_sum)
            made.append(result.data_ptr())
            return result

    weight, live = torch.zeros(300, 200, requires_grad=True), LiveBytes()
    live.gradient_shapes = {weight.shape}
    with live if traced else nullcontext():
        (Lookup.apply(weight) + Lookup.apply(weight)).backward()
    assert weight.grad is not None
    return weight.grad.data_ptr() in made


def test_gradients_are_summed_in_place_where_autograd_does_without_a_tracker() -> None:
    def own(of_sum: Tensor) -> Tensor:
        return of_sum.new_ones(300, 200)

    def view(of_sum: Tensor) -> Tensor:
        return of_sum.new_ones(300 * 200).view(300, 200)

    assert in_place(own, traced=False)
    assert in_place(own, traced=True)
    assert not in_place(view, traced=False)
    assert not in_place(view, traced=True)
