"""The parts of a run, put together: data, model, kernels, optimizer, checkpoints. `stages` builds them; nothing here decides
about steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tuitrain.config.resolved import Resolved
from tuitrain.trainer.checkpoint import Checkpoints
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.apply import Parallel
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.power import PowerMeter
from tuitrain.trainer.precision import Recipe
from tuitrain.trainer.sequences import Sequences
from tuitrain.trainer.telemetry import MemoryMeter, Telemetry
from tuitrain.trainer.weights import Weights
from tuitrain_kernels import Choice
from tuitrain_planners import Adapter, ModelShape, flop_per_token

FLOP_CONVENTION = "causal"


class LossModule(Protocol):
    """What is trained, as one module: a batch's tensors to a sum of losses. `compiled` says whether its layers are."""

    compiled: bool

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        """The loss summed over the micro-batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """Something the model continues at every evaluation."""

    shown: str
    ids: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """Text to ids and back, as far as the loop needs it."""

    decode: Callable[[Sequence[int]], str]
    end_ids: frozenset[int]
    """A continuation stops at any of them."""
    pad_id: int
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts:
    """What is known of the data once it is prepared."""

    content_hash: str
    validation_tokens: int


@dataclass(slots=True, kw_only=True)
class Setup:
    """The parts. `resolved` grows while the probe settles what was open."""

    run_dir: Path
    resolved: Resolved
    world: World
    telemetry: Telemetry
    meter: MemoryMeter
    power: PowerMeter
    data: DataFacts
    loader: Sequences
    language: Language
    plan_shape: ModelShape
    adapter: Adapter | None = None
    recipe: Recipe
    decoder: Any
    """model.decoder.Decoder, or model.pretrained.Pretrained."""
    loss: Any
    """A LossModule."""
    parallel: Parallel
    """`loss`, spread over the processes."""
    make_optimizers: Callable[[], Optimizers]
    optimizers: Optimizers
    weights: Weights
    checkpoints: Checkpoints
    peak_flop_per_s: float
    choose_attention: Callable[..., Choice]
    attention: Choice | None = None
    reset_weights: Callable[[], None] | None = None
    """Back to the first weights after the probe; None where the probe does not move them."""
    why_not_compiled: str | None = None
    """Why torch.compile is not tried for this model; None: it is."""
    checks: list[dict[str, Any]] = field(default_factory=list)
    """Findings of the flight check."""

    @property
    def module(self) -> nn.Module:
        """What a step calls."""
        return self.parallel.module

    @property
    def tuned(self) -> bool:
        """Whether the run starts from a trained model."""
        return self.resolved.config.model.base is not None

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
    def targets_per_step(self) -> int:
        """About what the losses of a step are divided by: scales gradients before the true count is known."""
        return self.sequences_per_step * (1 if self.loader.rows_per_sequence == 2 else self.seq_len)

    @property
    def flop_per_token(self) -> float:
        """Forward and backward, in FLOP_CONVENTION."""
        return flop_per_token(self.plan_shape, self.seq_len, FLOP_CONVENTION, adapter=self.adapter).value

    def settle(self, key: str, value: object, reason: str) -> None:
        """Write a decided value down, with its reason, where a resumed attempt finds it."""
        self.resolved = self.resolved.with_value(key, value, reason)

    def take_attention(self, *, compiled: bool) -> None:
        """Choose and use an attention backend for layers that are, or are not, about to be compiled."""
        self.attention = self.choose_attention(compiled=compiled)
        self.decoder.set_attention(self.attention.name)

    def before_probe(self) -> None:
        """The probe's steps must not move weights that cannot be made again."""
        if self.reset_weights is None:
            self.optimizers.set_lr(0.0)

    def after_probe(self) -> None:
        """Initial weights and an optimizer without memory: the probe leaves no trace."""
        if self.reset_weights is not None:
            self.reset_weights()
        self.optimizers = self.make_optimizers()


def set_threads(resolved: Resolved) -> None:
    """CPU threads of this process, before the first tensor is made."""
    threads = resolved.config.run.threads
    assert isinstance(threads, int), "resolve fills run.threads in"
    torch.set_num_threads(threads)
