"""From a resolved configuration to examples and their loader: what trainer and `data inspect` share. Must not import torch."""

from __future__ import annotations

from pathlib import Path

from tuitrain.config.resolved import Resolved
from tuitrain.data.chat.loader import ExampleLoader, Shape
from tuitrain.data.chat.preparation import PreparedExamples, prepare_examples
from tuitrain.data.progress import Listener


def prepare_for(resolved: Resolved, *, cache_dir: Path, progress: Listener) -> PreparedExamples:
    """The examples of a resolved configuration."""
    config = resolved.config
    return prepare_examples(
        config.data, stage=config.run.stage, judged=config.run.stage == "dpo" and config.preference.loss == "kto",
        base=Path(str(config.model.base)), cache_dir=cache_dir, progress=progress,
    )  # fmt: skip


def fit_seq_len(resolved: Resolved, prepared: PreparedExamples, context: int) -> Resolved:
    """A length nobody asked for grows to the longest example, as far as the base goes."""
    longest = int(max(prepared.train.lengths.max(initial=0), prepared.validation.lengths.max(initial=0))) - 1
    seq_len = resolved.config.train.seq_len
    assert isinstance(seq_len, int), "resolve fills train.seq_len in"
    if longest <= seq_len or not resolved.reason("train.seq_len"):
        return resolved
    wanted = min(context, -(-longest // 64) * 64)
    count = resolved.config.train.batch_sequences
    resolved = resolved.with_value("train.seq_len", wanted, f"the longest example has {longest} tokens")
    if count is not None:
        resolved = resolved.with_value("train.batch_tokens", count * wanted, "batch_sequences x seq_len, padding counted")
    return resolved


def make_loader(resolved: Resolved, prepared: PreparedExamples) -> ExampleLoader:
    """Sequences of the settled length."""
    config, encoder = resolved.config, prepared.encoder
    assert isinstance(config.train.seq_len, int), "resolve fills train.seq_len in"
    assert isinstance(config.data.packing, bool), "resolve fills data.packing in"
    pad_id = encoder.pad_id if encoder.pad_id is not None else encoder.eos_id
    shape = Shape(
        seq_len=config.train.seq_len,
        packing=config.data.packing,
        paired=config.run.stage == "dpo",
        pad_id=pad_id or 0,
        truncate=config.data.too_long == "truncate",
    )
    return ExampleLoader(
        prepared.train,
        prepared.validation,
        shape,
        weights=prepared.train_weights,
        token_bytes=encoder.token_bytes(),
        seed=config.run.seed,
        shuffle=config.data.shuffle,
    )
