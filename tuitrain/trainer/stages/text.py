"""Pretraining and mid-training: text, next-token loss over every token. From nothing by our own decoder; from a base by our own
decoder where it computes the base's architecture, else by transformers."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tuitrain.config.resolve import model_shape
from tuitrain.config.resolved import Resolved
from tuitrain.config.schema import DataSection
from tuitrain.data import Loader, PreparedData, Progress, prepare
from tuitrain.data.chat.encoder import ChatEncoder
from tuitrain.errors import CheckpointError, ConfigError, Problem
from tuitrain.files import read_json
from tuitrain.model.decoder import Decoder
from tuitrain.model.hf import from_hf_config, load_weights
from tuitrain.model.init import init_weights
from tuitrain.model.shape import DecoderShape
from tuitrain.runs.adapter_plan import adapter_of
from tuitrain.runs.data_facts import write_data_facts
from tuitrain.runs.home import cache_dir
from tuitrain.trainer.checkpoint import Checkpoints
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.agreement import who_has_which
from tuitrain.trainer.parallel.apply import parallelise
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.power import PowerMeter
from tuitrain.trainer.precision import Recipe, recipe
from tuitrain.trainer.setup import DataFacts, Language, Prompt, Setup
from tuitrain.trainer.stages.base import NOT_COMPILED, attention_of, load_model, weights_of
from tuitrain.trainer.telemetry import MemoryMeter, Telemetry
from tuitrain.trainer.weights import NativeWeights, Weights
from tuitrain_kernels import Choice, choose_attention
from tuitrain_planners import ModelShape

PROGRESS_EVERY_S = 0.5


def build_text(run_dir: Path, resolved: Resolved, world: World, telemetry: Telemetry, peak_flop_per_s: float) -> Setup:
    """All parts of a run on text."""
    config = resolved.config
    data = prepare_text(resolved, world, telemetry)
    if world.is_main:
        sources = with_replay(config.data).sources
        facts = [{"content_hash": each.content_hash, "documents": each.train.num_documents} for each in data.sources]
        write_data_facts(run_dir, sources, facts, data.content_hash)
    telemetry.phase("model", "building the model")
    padded = -(-data.tokenizer.vocab_size // 64) * 64  # whole tiles of every matrix-multiply unit
    plan_shape = model_shape(config, vocab_size=padded)
    kind = recipe(str(config.train.precision), world.device)
    parts = (
        _from_nothing(resolved, plan_shape, data, kind, world)
        if config.model.base is None
        else _from_base(resolved, Path(config.model.base), data, kind, world)
    )
    decoder = parts.decoder
    decoder.recompute = config.train.recompute
    loss = LanguageModelLoss(decoder, head=loss_head(resolved))
    assert isinstance(config.train.seq_len, int), "resolve fills train.seq_len in"
    loader = Loader(
        data,
        config.train.seq_len,
        config.run.seed,
        shuffle=config.data.shuffle,
        isolate_documents=config.data.isolate_documents,
    )
    parallel = parallelise(loss, decoder, config.parallel, world, kind)
    make_optimizers = functools.partial(Optimizers, decoder, config.optim, device=world.device, owned=parallel.owned)
    setup = Setup(
        run_dir=run_dir,
        resolved=resolved,
        world=world,
        telemetry=telemetry,
        meter=MemoryMeter(world.device),
        power=PowerMeter(world.device),
        data=DataFacts(content_hash=data.content_hash, validation_tokens=data.validation_tokens),
        loader=loader,
        language=_language(resolved, data),
        plan_shape=plan_shape,
        recipe=kind,
        decoder=decoder,
        loss=loss,
        parallel=parallel,
        make_optimizers=make_optimizers,
        optimizers=make_optimizers(),
        weights=parts.weights,
        checkpoints=checkpoints_of(run_dir, resolved),
        peak_flop_per_s=peak_flop_per_s,
        choose_attention=parts.choose_attention,
        adapter=adapter_of(config),
        reset_weights=parts.reset_weights,
        why_not_compiled=None if isinstance(decoder, Decoder) else NOT_COMPILED,
    )
    setup.take_attention(compiled=config.train.compile == "on")
    return setup


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """A model, and what goes with it."""

    decoder: Any
    weights: Weights
    choose_attention: Callable[..., Choice]
    reset_weights: Callable[[], None] | None = None


def _from_nothing(resolved: Resolved, plan_shape: ModelShape, data: PreparedData, kind: Recipe, world: World) -> _Parts:
    """Our own decoder with its first weights."""
    shape, seed = decoder_shape(plan_shape, resolved), resolved.config.run.seed
    decoder = Decoder(shape, compute_dtype=kind.compute).to(world.device, kind.weights)
    init_weights(decoder, seed)
    return _Parts(
        decoder=decoder,
        weights=NativeWeights(decoder=decoder, eos_id=data.tokenizer.eos_id, save_tokenizer=data.tokenizer.save),
        choose_attention=attention_chooser(resolved, world, shape, kind.compute),
        reset_weights=functools.partial(init_weights, decoder, seed),
    )


def _from_base(resolved: Resolved, base: Path, data: PreparedData, kind: Recipe, world: World) -> _Parts:
    """Our own decoder with the base's weights where it computes the same; else transformers' model."""
    native = resolved.config.method.kind == "full" and not resolved.config.model.trust_remote_code
    try:
        shape = from_hf_config(read_json(base / "config.json") or {}) if native else None
    except CheckpointError:  # an architecture, or a detail of one, that only transformers computes
        shape = None
    if shape is not None:
        decoder = Decoder(shape, compute_dtype=kind.compute).to(world.device, kind.weights)
        load_weights(decoder, base)
        return _Parts(
            decoder=decoder,
            weights=NativeWeights(decoder=decoder, eos_id=data.tokenizer.eos_id, save_tokenizer=data.tokenizer.save),
            choose_attention=attention_chooser(resolved, world, shape, kind.compute),
        )
    model = load_model(resolved, base, kind, world.device)
    attention = attention_of(resolved, world, kind, model)
    return _Parts(
        decoder=model,
        weights=weights_of(resolved, base, model, ChatEncoder(base)),
        choose_attention=lambda compiled: attention,
    )


def attention_chooser(resolved: Resolved, world: World, shape: DecoderShape, dtype: torch.dtype) -> functools.partial[Choice]:
    """Chooses among our own attention kernels."""
    config = resolved.config
    return functools.partial(
        choose_attention,
        config.train.attention,
        world.device,
        dtype,
        shape.head_dim,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        documents=config.data.isolate_documents,
        tokens=int(config.train.seq_len),
    )


def checkpoints_of(run_dir: Path, resolved: Resolved) -> Checkpoints:
    """The checkpoints of a run."""
    kept = resolved.config.checkpoint
    return Checkpoints(run_dir / "checkpoints", keep_last=kept.keep_last, keep_best=kept.keep_best)


def decoder_shape(shape: ModelShape, resolved: Resolved) -> DecoderShape:
    """The model of a resolved configuration, its sizes from the planner's shape."""
    model = resolved.config.model
    return DecoderShape(
        architecture=model.architecture,
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        ffn_size=shape.ffn_size,
        tie_embeddings=shape.tie_embeddings,
        max_seq_len=shape.max_seq_len,
        rope_theta=model.rope_theta,
        norm_eps=model.norm_eps,
        logit_softcap=model.logit_softcap if model.architecture == "nanochat" else None,
    )


def loss_head(resolved: Resolved) -> str:
    """Which of the two equal heads."""
    kind = resolved.config.train.loss
    return "chunked" if kind == "auto" else kind


def _language(resolved: Resolved, data: PreparedData) -> Language:
    tokenizer, prompts = data.tokenizer, resolved.config.eval.prompts
    if prompts == "auto":
        prompts = ("The", "It is", "def")
    # Pretraining saw the end-of-document token before every document, so a prompt starts with it too.
    rows = tuple(Prompt(shown=prompt, ids=[tokenizer.eos_id, *tokenizer.encode(prompt)]) for prompt in prompts)
    return Language(decode=tokenizer.decode, end_ids=frozenset({tokenizer.eos_id}), pad_id=tokenizer.eos_id, prompts=rows)


def prepare_text(resolved: Resolved, world: World, telemetry: Telemetry) -> PreparedData:
    """Tokenized data from the cache; the main process fills the cache first, the others then only open it."""
    config = resolved.config
    vocab_size = config.tokenizer.vocab_size

    def run() -> PreparedData:
        return prepare(
            with_replay(config.data),
            config.tokenizer,
            vocab_size=vocab_size if isinstance(vocab_size, int) else None,
            cache_dir=cache_dir(),
            threads=int(config.run.threads) if config.run.threads != "auto" else os.cpu_count() or 1,
            progress=progress_to(telemetry),
        )

    data = run() if world.is_main else None
    world.barrier()
    data = data or run()
    same_on_all(world, data.content_hash)
    return data


def with_replay(data: DataSection) -> DataSection:
    """The mixture with its share of what the base was pretrained on."""
    if not data.replay_frac:
        return data
    fresh, old = sum(each.weight for each in data.sources), sum(each.weight for each in data.replay_sources)
    sources = [each.model_copy(update={"weight": each.weight / fresh * (1 - data.replay_frac)}) for each in data.sources]
    sources += [each.model_copy(update={"weight": each.weight / old * data.replay_frac}) for each in data.replay_sources]
    return data.model_copy(update={"sources": tuple(sources)})


def progress_to(telemetry: Telemetry) -> Callable[[Progress], None]:
    """A listener that tells how far the preparation is, now and then."""
    last_s = 0.0

    def progress(now: Progress) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= PROGRESS_EVERY_S or now.done_frac == 1.0:
            last_s = time.monotonic()
            telemetry.phase("data", f"{now.phase} {now.detail}".strip(), now.done_frac)

    return progress


def same_on_all(world: World, content_hash: str) -> None:
    """ConfigError when the processes do not see the same data."""
    hashes = world.gather(content_hash)
    if len(set(hashes)) > 1:
        message = f"the processes see different data: {who_has_which(hashes)}"
        hint = "give every process the same files; a cache of its own on each may be stale"
        raise ConfigError([Problem(where="data", key="data.sources", message=message, hint=hint)])
