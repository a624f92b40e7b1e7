"""Everything a run is made of, put together in order: data, model, kernels, optimizer, checkpoints. Decides nothing about
steps."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tuitrain.config.resolve import model_shape
from tuitrain.config.resolved import Resolved
from tuitrain.data import Loader, PreparedData, Progress, prepare
from tuitrain.errors import ConfigError, Problem
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import init_weights
from tuitrain.model.shape import DecoderShape
from tuitrain.runs.home import cache_dir
from tuitrain.trainer.checkpoint import Checkpoints
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.ddp import replicate
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.power import PowerMeter
from tuitrain.trainer.precision import Recipe, recipe
from tuitrain.trainer.telemetry import MemoryMeter, Telemetry
from tuitrain_kernels import Choice, choose_attention
from tuitrain_planners import ModelShape, flop_per_token

FLOP_CONVENTION = "causal"
PROGRESS_EVERY_S = 0.5


@dataclass(slots=True)
class Setup:
    """The parts. `resolved` grows while the probe settles what was open."""

    run_dir: Path
    resolved: Resolved
    world: World
    telemetry: Telemetry
    meter: MemoryMeter
    power: PowerMeter
    data: PreparedData
    loader: Loader
    plan_shape: ModelShape
    recipe: Recipe
    decoder: Decoder
    loss: LanguageModelLoss
    module: nn.Module
    """`loss`, replicated over the processes."""
    optimizers: Optimizers
    checkpoints: Checkpoints
    peak_flop_per_s: float
    attention: Choice | None = None

    @property
    def seq_len(self) -> int:
        """Tokens per sequence."""
        seq_len = self.resolved.config.train.seq_len
        assert isinstance(seq_len, int), "resolve fills train.seq_len in"
        return seq_len

    @property
    def sequences_per_step(self) -> int:
        """Sequences of a global batch."""
        batch_tokens = self.resolved.config.train.batch_tokens
        assert isinstance(batch_tokens, int), "resolve fills train.batch_tokens in"
        return batch_tokens // self.seq_len

    @property
    def flop_per_token(self) -> float:
        """Forward and backward, in FLOP_CONVENTION."""
        return flop_per_token(self.plan_shape, self.seq_len, FLOP_CONVENTION).value

    def settle(self, key: str, value: object, reason: str) -> None:
        """Write a decided value down, with its reason, where a resumed attempt finds it."""
        self.resolved = self.resolved.with_value(key, value, reason)

    def take_attention(self, *, compiled: bool) -> None:
        """Choose and use an attention backend for layers that are, or are not, about to be compiled."""
        shape, config = self.decoder.shape, self.resolved.config
        self.attention = choose_attention(
            config.train.attention,
            self.world.device,
            self.recipe.compute,
            shape.head_dim,
            num_heads=shape.num_heads,
            num_kv_heads=shape.num_kv_heads,
            documents=config.data.isolate_documents,
            tokens=self.seq_len,
            compiled=compiled,
        )
        self.decoder.set_attention(self.attention.name)

    def fresh_weights(self) -> None:
        """Initial weights and an optimizer without memory: the probe leaves no trace."""
        config = self.resolved.config
        init_weights(self.decoder, config.run.seed)
        self.optimizers = Optimizers(self.decoder, config.optim, device=self.world.device)


def build(run_dir: Path, resolved: Resolved, world: World, telemetry: Telemetry, peak_flop_per_s: float) -> Setup:
    """All parts of a run, weights initialised."""
    config = resolved.config
    data = _prepare(resolved, world, telemetry)
    telemetry.phase("model", "building the model")
    padded = -(-data.tokenizer.vocab_size // 64) * 64  # whole tiles of every matrix-multiply unit
    plan_shape = model_shape(config, vocab_size=padded)
    shape = decoder_shape(plan_shape, resolved)
    kind = recipe(str(config.train.precision), world.device)
    decoder = Decoder(shape, compute_dtype=kind.compute).to(world.device, kind.weights)
    decoder.recompute = config.train.recompute
    init_weights(decoder, config.run.seed)
    loss = LanguageModelLoss(decoder, head=_loss_head(resolved))
    loader = Loader(
        data,
        plan_shape.max_seq_len,
        config.run.seed,
        shuffle=config.data.shuffle,
        isolate_documents=config.data.isolate_documents,
    )
    setup = Setup(
        run_dir=run_dir,
        resolved=resolved,
        world=world,
        telemetry=telemetry,
        meter=MemoryMeter(world.device),
        power=PowerMeter(world.device),
        data=data,
        loader=loader,
        plan_shape=plan_shape,
        recipe=kind,
        decoder=decoder,
        loss=loss,
        module=replicate(loss, world),
        optimizers=Optimizers(decoder, config.optim, device=world.device),
        checkpoints=Checkpoints(
            run_dir / "checkpoints", keep_last=config.checkpoint.keep_last, keep_best=config.checkpoint.keep_best
        ),
        peak_flop_per_s=peak_flop_per_s,
    )
    setup.take_attention(compiled=config.train.compile == "on")
    return setup


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


def _loss_head(resolved: Resolved) -> str:
    kind = resolved.config.train.loss
    return "chunked" if kind == "auto" else kind


def _prepare(resolved: Resolved, world: World, telemetry: Telemetry) -> PreparedData:
    """Tokenized data from the cache; the main process fills the cache first, the others then only open it."""
    config = resolved.config
    vocab_size = config.tokenizer.vocab_size
    last_s = 0.0

    def progress(now: Progress) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= PROGRESS_EVERY_S or now.done_frac == 1.0:
            last_s = time.monotonic()
            telemetry.phase("data", f"{now.phase} {now.detail}".strip(), now.done_frac)

    def run() -> PreparedData:
        return prepare(
            config.data,
            config.tokenizer,
            vocab_size=vocab_size if isinstance(vocab_size, int) else None,
            cache_dir=cache_dir(),
            threads=int(config.run.threads) if config.run.threads != "auto" else os.cpu_count() or 1,
            progress=progress,
        )

    data = run() if world.is_main else None
    world.barrier()
    data = data or run()
    hashes = set(world.gather(data.content_hash))
    if len(hashes) > 1:
        raise ConfigError(
            [Problem(where="data", key="data.sources", message=f"the processes see {len(hashes)} different corpora")]
        )
    return data


def set_threads(resolved: Resolved) -> None:
    """CPU threads of this process, before the first tensor is made."""
    threads = resolved.config.run.threads
    assert isinstance(threads, int), "resolve fills run.threads in"
    torch.set_num_threads(threads)
