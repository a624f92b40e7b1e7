"""Combinations that cannot be: each is told with the key to change. Values alone are checked by the schema."""

from __future__ import annotations

from collections.abc import Iterator

from tuitrain.config.check_parallel import Finding, impossible_parallel, nearest_divisor
from tuitrain.config.schema import Config


def impossible(config: Config) -> Iterator[Finding]:
    """Every impossible combination of a configuration."""
    yield from _stage(config)
    yield from _model(config)
    yield from _data(config)
    yield from _length(config)
    yield from impossible_parallel(config)
    yield from _schedule(config)


def _stage(config: Config) -> Iterator[Finding]:
    stage, model, method = config.run.stage, config.model, config.method
    if stage == "pretrain" and model.base is not None:
        yield "run.stage", "pretrain starts from nothing, and model.base names a model", "midtrain, sft or dpo"
    if stage != "pretrain" and model.base is None:
        yield "model.base", f"{stage} starts from a model, and none is named", "a run, a folder, a .gguf file, owner/name"
    if method.kind in ("lora", "qlora") and model.base is None and stage == "pretrain":
        yield "method.kind", f"{method.kind} trains beside a model, and none is named", "model.base, and run.stage = 'sft'"
    sizes = ("preset", "depth", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_size")
    if model.base is not None and (given := [name for name in sizes if getattr(model, name) is not None]):
        yield f"model.{given[0]}", "model.base has sizes of its own", "remove one of them"
    if method.quant_embedding is True and method.kind != "qlora":
        yield "method.quant_embedding", f"is of qlora; method.kind is {method.kind!r}", "method.kind = 'qlora', or leave it out"
    if method.quant_embedding is True and (end := method.adapted_end):
        message = f"{end} is adapted, and an adapter needs it in 16 bits"
        yield "method.quant_embedding", message, "leave it out of method.targets, or method.quant_embedding = false"
    if config.optim.kind == "muon" and method.kind in ("lora", "qlora"):
        yield "optim.kind", "muon moves whole matrices, not the factors of an adapter", "optim.kind = 'adamw'"
    if config.data.packing is True and stage != "sft":
        yield "data.packing", f"{stage} has no examples to pack", "it is for sft"
    if config.data.replay_frac and stage != "midtrain":
        yield "data.replay_frac", f"{stage} replays nothing", "it is for midtrain"
    if config.train.batch_sequences is not None and config.train.batch_tokens != "auto":
        yield "train.batch_sequences", "the batch is given twice: batch_sequences and batch_tokens", "keep one"


def _model(config: Config) -> Iterator[Finding]:
    model = config.model
    sizes = {"hidden_size": model.hidden_size, "num_layers": model.num_layers, "num_heads": model.num_heads}
    given = [name for name, value in sizes.items() if value is not None]
    dials = [name for name in ("preset", "depth") if getattr(model, name) is not None]
    if len(dials) == 2:
        yield "model.depth", "both model.preset and model.depth are given", "keep one"
    if model.preset and given:
        yield (
            f"model.{given[0]}",
            f"model.preset={model.preset!r} already sets {', '.join(given)}",
            "remove the preset or the sizes",
        )
    if not dials and given and len(given) < 3:
        missing = [name for name in sizes if name not in given]
        yield f"model.{given[0]}", f"given without {', '.join(missing)}", "give all three, or model.depth alone"
    if model.hidden_size and model.num_heads and model.head_dim is None and model.hidden_size % model.num_heads:
        near = nearest_divisor(model.hidden_size, model.num_heads)
        yield (
            "model.num_heads",
            f"{model.num_heads} heads do not divide hidden_size {model.hidden_size}",
            f"nearest that does: {near}",
        )
    if model.num_heads and model.num_kv_heads and model.num_heads % model.num_kv_heads:
        near = nearest_divisor(model.num_heads, model.num_kv_heads)
        message = f"{model.num_kv_heads} key/value heads do not divide {model.num_heads} query heads"
        yield "model.num_kv_heads", message, f"nearest that does: {near}"
    if model.head_dim and model.head_dim % 2:
        yield "model.head_dim", f"{model.head_dim} is odd, rotary embedding turns pairs", f"use {model.head_dim + 1}"
    sizes_given = model.head_dim and model.hidden_size and model.num_heads
    if model.architecture == "nanochat" and sizes_given and model.head_dim * model.num_heads != model.hidden_size:  # type: ignore[operator]
        message = f"nanochat has no head_dim of its own: {model.num_heads} heads x {model.head_dim} != {model.hidden_size}"
        yield "model.head_dim", message, "leave it out, or use architecture = 'qwen3'"


def _data(config: Config) -> Iterator[Finding]:
    if not config.data.sources:
        yield "data.sources", "is empty", "name at least one source, for example {corpus = 'python-stdlib'}"
    for index, source in enumerate(config.data.sources):
        kinds = [name for name in ("corpus", "path", "dataset") if getattr(source, name) is not None]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none"
            yield f"data.sources.{index}", f"needs exactly one of corpus, path, dataset; has {found}", ""
    tokenizer = config.tokenizer
    if tokenizer.kind == "tiktoken" and not tokenizer.name:
        yield "tokenizer.name", "tokenizer.kind = 'tiktoken' needs a name", "gpt2, cl100k_base or o200k_base"
    if tokenizer.kind == "file" and not tokenizer.path:
        yield "tokenizer.path", "tokenizer.kind = 'file' needs a path", "a tokenizer.json, or the folder that holds it"
    if tokenizer.kind != "train" and tokenizer.vocab_size != "auto":
        yield (
            "tokenizer.vocab_size",
            f"only a trained tokenizer has a vocab_size to choose; kind is {tokenizer.kind!r}",
            "remove it",
        )


def _length(config: Config) -> Iterator[Finding]:
    train = config.train
    given = [name for name in ("tokens", "steps", "epochs", "minutes") if getattr(train, name) is not None]
    if len(given) > 1:
        yield f"train.{given[1]}", f"the length is given {len(given)} times: {', '.join(given)}", "keep one"


def _schedule(config: Config) -> Iterator[Finding]:
    steps, warmup = config.train.steps, config.schedule.warmup_steps
    if steps is not None and warmup != "auto" and warmup >= steps:
        yield "schedule.warmup_steps", f"{warmup} steps of warm-up in a run of {steps}", "make it shorter than the run"
    for key, what in (("matrix_lr", "matrices"), ("embedding_lr", "the embedding")):
        if config.optim.kind == "adamw" and getattr(config.optim, key) != "auto":
            yield f"optim.{key}", f"only muon has a learning rate of its own for {what}", "set optim.lr, or optim.kind = 'muon'"
    if config.eval.patience is not None and config.eval.every_steps == 0:
        yield "eval.patience", "early stopping needs evaluations, and eval.every_steps is 0", "set eval.every_steps"
