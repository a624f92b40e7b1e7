"""Run by torchrun from test_zero3: three steps under ZeRO-3 over two processes, results written to a folder."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from support.tiny import CPU, SEQ_LEN, micro_batches, sequences, tiny_shape
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from tuitrain.config.schema import OptimSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import init_weights
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel import World, init_world
from tuitrain.trainer.parallel.zero import apply_zero3
from tuitrain.trainer.precision import RECIPES
from tuitrain.trainer.scaler import LossScaler
from tuitrain.trainer.step import StepResult, train_step


def model(head: str, *, tied: bool) -> LanguageModelLoss:
    """Every weight away from zero, so that every gradient matters."""
    decoder = Decoder(replace(tiny_shape(), tie_embeddings=tied))
    init_weights(decoder, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return LanguageModelLoss(decoder, head=head)


def three_steps(loss: LanguageModelLoss, world: World) -> list[StepResult]:
    optimizers = Optimizers(loss.decoder, OptimSection(kind="adamw", lr=0.01, weight_decay=0.1), device=CPU)
    tokens, targets = sequences(8)
    each = 8 // world.size
    rows = slice(world.rank * each, (world.rank + 1) * each)
    return [
        train_step(
            loss, optimizers, micro_batches(tokens[rows], targets[rows], 2), world, expected_targets=8 * SEQ_LEN,
            clip_norm=1.0, guard=None, scaler=LossScaler(enabled=False),
        )
        for _ in range(3)
    ]  # fmt: skip


def main(head: str, tied: bool, folder: Path) -> None:
    world = init_world("cpu")
    loss = apply_zero3(model(head, tied=tied), init_device_mesh("cpu", (world.size,)), RECIPES["fp32"])
    results = three_steps(loss, world)
    parameters = list(loss.decoder.parameters())
    assert all(isinstance(each, DTensor) for each in parameters), "every weight is sharded"
    weights = torch.cat([each.full_tensor().detach().flatten() for each in parameters])
    facts = {name: [getattr(result, name) for result in results] for name in ("loss", "grad_norm", "tokens")}
    torch.save({"weights": weights, **facts}, folder / f"rank{world.rank}.pt")
    world.barrier()
    world.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "tied", Path(sys.argv[3]))
    sys.stdout.flush()
    os._exit(0)
