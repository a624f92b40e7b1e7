"""The embedded corpus as tokens, prepared by tuitrain, and one way to judge a model on it that is the same for every side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from tuitrain.config.schema import DataSection, TokenizerSection
from tuitrain.data import PreparedData, prepare
from tuitrain.runs.home import cache_dir

VOCAB = 4096


def prepared(vocab_size: int = VOCAB) -> PreparedData:
    """Training and validation tokens; from the cache after the first call."""
    return prepare(
        DataSection(),
        TokenizerSection(vocab_size=vocab_size),
        vocab_size=vocab_size,
        cache_dir=cache_dir(),
        threads=2,
        progress=lambda now: None,
    )


def stream(data: PreparedData, split: str) -> np.ndarray:
    """All tokens of one split."""
    (source,) = data.sources
    shards = source.train if split == "train" else source.validation
    return np.asarray(shards.tokens(0, shards.num_tokens)).astype(np.int64)


@torch.no_grad()
def bits_per_byte(loss_sum: Callable[[Tensor, Tensor], float], data: PreparedData, seq_len: int, batch: int = 16) -> float:
    """Bits per byte over the whole validation stream in windows of `seq_len`. `loss_sum(tokens, targets)` is in nats,
    summed."""
    tokens = stream(data, "validation")
    token_bytes = data.tokenizer.token_bytes()
    count = (len(tokens) - 1) // seq_len
    inputs = torch.from_numpy(tokens[: count * seq_len].reshape(count, seq_len))
    targets = torch.from_numpy(tokens[1 : count * seq_len + 1].reshape(count, seq_len))
    nats = sum(loss_sum(inputs[at : at + batch], targets[at : at + batch]) for at in range(0, count, batch))
    return nats / math.log(2) / int(token_bytes[targets.numpy()].sum())


def random_batch(tokens: np.ndarray, rows: int, seq_len: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Windows at random offsets, as nanoGPT reads."""
    starts = generator.integers(0, len(tokens) - seq_len - 1, rows)
    windows = torch.from_numpy(tokens[starts[:, None] + np.arange(seq_len + 1)])
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def shares(seconds: float) -> Iterator[float]:
    """The share of the time that is gone, once per step, until all of it is: schedules by the clock waste none of it."""
    begin = time.perf_counter()
    while (share := (time.perf_counter() - begin) / seconds) < 1:
        yield share
