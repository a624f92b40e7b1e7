"""Validation: one sum of losses over all tokens, one of their bytes, one division.

The mean of batch means (torchtitan until #4167) weighs a short last batch like a full one. Bits per byte divides by the
bytes the targets stand for, as the tokenizer's own table says - not by the length of decoded strings (nanochat #693).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from tuitrain.trainer.batches import to_micro_batch
from tuitrain.trainer.parallel.world import World
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
def evaluate(module: nn.Module, loader: Sequences, world: World, *, micro_batch: int, max_tokens: int | None) -> Evaluation:
    """Loss of the validation split, without dropout; every process takes every n-th batch, all get the result."""
    loss_sum, tokens, size = 0.0, 0, 0
    each = loader.rows_per_sequence
    with evaluating(module):
        for index, batch in enumerate(loader.validation_batches(micro_batch, max_tokens)):
            if index % world.size != world.rank:
                continue
            piece = to_micro_batch(batch, 0, len(batch.tokens), world.device, rows_per_sequence=each)
            loss_sum += float(module(*piece.inputs()))
            tokens += batch.num_targets
            size += batch.num_bytes
    total, count, all_bytes = world.sum([loss_sum, float(tokens), float(size)])
    return Evaluation(
        loss=total / count if count else math.nan,
        bits_per_byte=total / math.log(2) / all_bytes if all_bytes else math.nan,
        tokens=int(count),
        bytes=int(all_bytes),
    )
