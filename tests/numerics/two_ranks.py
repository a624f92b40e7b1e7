"""Run by torchrun from test_step: three steps of the tiny model over two processes, results written to a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from support.tiny import SEQ_LEN, micro_batches, sequences, tiny_training

from tuitrain.trainer.parallel import init_world
from tuitrain.trainer.parallel.ddp import replicate
from tuitrain.trainer.scaler import LossScaler
from tuitrain.trainer.step import train_step


def main(kind: str, folder: Path) -> None:
    world = init_world("cpu")
    module, optimizers = tiny_training(kind)
    replicated = replicate(module, world)
    tokens, targets = sequences(8)
    rows = slice(world.rank * 4, world.rank * 4 + 4)
    results = [
        train_step(
            replicated, optimizers, micro_batches(tokens[rows], targets[rows], 2), world, expected_targets=8 * SEQ_LEN,
            clip_norm=1.0, guard=None, scaler=LossScaler(enabled=False),
        )
        for _ in range(3)
    ]  # fmt: skip
    weights = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    facts = {name: [getattr(result, name) for result in results] for name in ("loss", "grad_norm", "tokens")}
    torch.save({"weights": weights, **facts}, folder / f"rank{world.rank}.pt")
    world.barrier()
    world.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)
