"""The reference of preference tuning: what the base alone thinks of each answer. Computed once and kept on disk by model, data
and tokenizer; the model that learns then trains without a second one beside it. An adapter's base is its reference with the
adapter off; where all weights are trained it is the model before the first step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuitrain.data.chat.loader import ExampleLoader
from tuitrain.data.chat.tokenized import TokenizedSet
from tuitrain.model.pretrained import Pretrained
from tuitrain.trainer.batches import to_micro_batch
from tuitrain.trainer.evaluate import evaluating
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.preference import ReferenceCache, cache_key
from tuitrain.trainer.preference_loss import answer_log_probs
from tuitrain.trainer.telemetry import Telemetry

BATCH_TOKENS = 8192
COLUMNS = ("first", "second")


def add_references(
    model: Pretrained, loader: ExampleLoader, folder: Path, world: World, telemetry: Telemetry, *, facts: dict[str, Any]
) -> None:
    """Give the loader the reference's log-probabilities of both sides. `facts`: hashes of model, data, tokenizer, precision."""
    sides = []
    for name, examples, units in (
        ("training", loader.train, loader.usable), ("held-out", loader.validation, loader.held_out),
    ):  # fmt: skip
        key = cache_key(
            model=facts["model"], data=examples.content_hash, tokenizer=facts["tokenizer"],
            compute={"precision": facts["precision"], "attention": facts["attention"], "seq_len": loader.seq_len,
                     "quant": facts["quant"] or "none", "truncate": loader.shape.truncate},
        )  # fmt: skip
        cache = ReferenceCache(folder, key, examples=len(examples) // 2, columns=COLUMNS)
        for discarded in cache.discarded:
            telemetry.warn(f"reference log-probabilities in {discarded} were not what was written; they are computed again")
        if world.is_main:
            _fill(model, loader, examples, np.intersect1d(units // 2, cache.missing()), cache, world, telemetry, name)
        world.barrier()
        if not world.is_main:
            cache = ReferenceCache(folder, key, examples=len(examples) // 2, columns=COLUMNS)
        sides.append(_lookup(cache))
    loader.references = (sides[0], sides[1])


def _lookup(cache: ReferenceCache) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    def find(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        values: NDArray[np.float32] = cache.get(rows // 2)[np.arange(len(rows)), rows % 2]
        return values

    return find


def _fill(
    model: Pretrained, loader: ExampleLoader, examples: TokenizedSet, pairs: NDArray[np.int64], cache: ReferenceCache,
    world: World, telemetry: Telemetry, name: str,
) -> None:  # fmt: skip
    pairs = pairs[np.argsort(-examples.lengths[pairs * 2], kind="stable")]  # alike in length: little padding
    per_batch = max(1, BATCH_TOKENS // (2 * loader.seq_len))
    last_s = 0.0
    reference = model.without_adapter() if model.adapted is not None else contextlib.nullcontext()
    with torch.no_grad(), evaluating(model), reference:
        for start in range(0, len(pairs), per_batch):
            if time.monotonic() - last_s > 0.5:
                last_s = time.monotonic()
                telemetry.phase("reference", f"{name}: {start} of {len(pairs)} pairs", start / len(pairs))
            chosen = pairs[start : start + per_batch]
            batch = loader.rows_of(examples, [[int(pair) * 2, int(pair) * 2 + 1] for pair in chosen])
            piece = to_micro_batch(batch, 0, len(batch.tokens), world.device, rows_per_sequence=2)
            values = answer_log_probs(model, piece.tokens, piece.targets).float().cpu().numpy()
            cache.put(chosen, values.reshape(-1, 2))
