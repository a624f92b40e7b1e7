"""Validation: one sum of losses over all tokens, one of their bytes, one division.

The mean of batch means (torchtitan until #4167) weighs a short last batch like a full one. Bits per byte divides by the
bytes the targets stand for, as the tokenizer's own table says - not by the length of decoded strings (nanochat #693).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from tuitrain.trainer.batches import to_micro_batch
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.parallel.zero import give_back
from tuitrain.trainer.sequences import Sequences


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The result over the whole validation set."""

    loss: float
    """Nats per token."""
    bits_per_byte: float
    tokens: int
    bytes: int


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout, and back to what it was: an evaluation must not be seen in the training that follows."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


@torch.no_grad()
def evaluate(
    module: nn.Module,
    loader: Sequences,
    world: World,
    *,
    micro_batch: int,
    max_tokens: int | None,
    tick: Callable[[], None] | None = None,
) -> Evaluation:
    """Loss of the validation split, without dropout; every process takes every n-th batch, all get the result. `tick` is called
    after each batch: a large set takes longer than a hung process is given. Where weights are cut a pass needs all processes:
    one without a batch of its own runs one it does not count."""
    loss_sum, tokens, size = 0.0, 0, 0
    each = loader.rows_per_sequence
    with evaluating(module):
        in_step = isinstance(module, FSDPModule)
        batches = loader.validation_batches(micro_batch, max_tokens)
        while together := list(itertools.islice(batches, world.size)):
            counts = world.rank < len(together)
            if not counts and not in_step:
                continue
            batch = together[world.rank if counts else 0]
            piece = to_micro_batch(batch, 0, len(batch.tokens), world.device, rows_per_sequence=each)
            loss = float(module(*piece.inputs()))
            if counts:
                loss_sum, tokens, size = loss_sum + loss, tokens + batch.num_targets, size + batch.num_bytes
            if tick is not None:
                tick()
    give_back(module)
    total, count, all_bytes = world.sum([loss_sum, float(tokens), float(size)])
    return Evaluation(
        loss=total / count if count else math.nan,
        bits_per_byte=total / math.log(2) / all_bytes if all_bytes else math.nan,
        tokens=int(count),
        bytes=int(all_bytes),
    )
