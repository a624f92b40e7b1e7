"""Fill in what a configuration leaves open, each value with its reason. Two stages:

`resolve`  before the start, from the configuration and the machine: device, precision, model sizes, batch, learning rates.
`settle`   in the trainer, once data and probe have said how many steps there are: warm-up, evaluation and checkpoint intervals.

The rules for batch and rates at small scale were measured with this trainer; see benchmarks/README.md for the runs behind them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuitrain.config.check_parallel import indivisible
from tuitrain.config.resolve_tuning import base_shape, resolve_tuning
from tuitrain.config.resolved import Resolved
from tuitrain.config.schema import Config
from tuitrain.errors import ConfigError, Problem, UsageError
from tuitrain.runs.home import presets_dir
from tuitrain.runs.machine import Machine
from tuitrain_planners import ModelShape, by_depth, count_parameters, find_shape, native_gap

DEFAULT_DEPTH = 4
SIZES = ("hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_size")
Rule = Callable[[Resolved, Machine], Resolved]


def resolve(
    config: Config, machine: Machine, say: Callable[[str], None] = lambda line: None, *, plan_only: bool = False
) -> Resolved:
    """Everything that can be known before data and probe. Nothing given explicitly is changed. `say` hears what takes long;
    `plan_only`: nothing is started, so nothing need be downloaded."""
    resolved = Resolved(config=config)
    for rule in (_device, _nproc, _lone, _threads, _precision):
        resolved = rule(resolved, machine)
    if config.model.base is not None:
        resolved = resolve_tuning(resolved, machine, say, plan_only=plan_only)
        _check_division(resolved)
        return resolved
    for rule in (_optimizer, _vocabulary, _model, _seq_len, _batch, _rates, _prompts):
        resolved = rule(resolved, machine)
    _check_division(resolved)
    return resolved


def _device(resolved: Resolved, machine: Machine) -> Resolved:
    if resolved.config.run.device != "auto":
        return resolved
    if machine.gpus:
        return resolved.with_value("run.device", "cuda", f"{machine.gpus[0].name} is visible")
    return resolved.with_value("run.device", "cpu", machine.gpu_reason)


def _nproc(resolved: Resolved, machine: Machine) -> Resolved:
    if resolved.config.run.nproc != "auto":
        return resolved
    if resolved.config.run.device == "cuda":
        if not machine.gpus:
            message = f"counts the visible devices, and none is seen: {machine.gpu_reason}"
            problem = Problem(where="run.nproc=auto", key="run.nproc", message=message, hint="run.nproc = N, one per device")
            raise ConfigError([problem])
        count = len(machine.gpus)
        resolved = resolved.with_value("run.nproc", count, f"one process per visible device: {count} x {machine.gpus[0].name}")
    else:
        resolved = resolved.with_value("run.nproc", 1, "on the CPU one process already uses every core")
    _check_division(resolved)
    return resolved


def _check_division(resolved: Resolved) -> None:
    """ConfigError for what the number of processes does not divide, now that what was open has become a number."""
    reason = resolved.reason("run.nproc")
    where = f"run.nproc={resolved.config.run.processes}" + (f" ({reason})" if reason else "")
    problems = [
        Problem(where=where, key=key, message=message, hint=hint) for key, message, hint in indivisible(resolved.config)
    ]
    if problems:
        raise ConfigError(problems)


def _lone(resolved: Resolved, machine: Machine) -> Resolved:
    """One process has nobody to share with: said, so that nobody looks for the savings."""
    zero = resolved.config.parallel.zero
    if zero == 0 or resolved.config.run.processes > 1:
        return resolved
    return resolved.with_value("parallel.zero", zero, "as asked for; there is one process, so nothing is cut")


def _threads(resolved: Resolved, machine: Machine) -> Resolved:
    if resolved.config.run.threads != "auto":
        return resolved
    nproc = resolved.config.run.processes
    threads = max(1, machine.physical_cores // nproc)
    return resolved.with_value(
        "run.threads", threads, f"{machine.physical_cores} physical cores / {nproc} process{'es' * (nproc > 1)}"
    )


def _precision(resolved: Resolved, machine: Machine) -> Resolved:
    if resolved.config.train.precision != "auto":
        return resolved
    if resolved.config.run.device == "cuda":
        gpu = machine.gpus[0] if machine.gpus else None
        if gpu is None or gpu.compute_capability >= 8.0:
            return resolved.with_value(
                "train.precision", "bf16-mixed", "tensor cores multiply bf16 at full rate (Ampere or newer)"
            )
        reason = (
            f"{gpu.name} (compute capability {gpu.compute_capability}) has no bf16 tensor cores; fp16 with dynamic loss scaling"
        )
        return resolved.with_value("train.precision", "fp16-mixed", reason)
    if machine.cpu_bf16:
        return resolved.with_value(
            "train.precision", "bf16-mixed", "this CPU multiplies bf16 natively (about twice its fp32 rate)"
        )
    return resolved.with_value("train.precision", "fp32", "this CPU has no bf16 instructions; emulating them would be slower")


def _optimizer(resolved: Resolved, machine: Machine) -> Resolved:
    if resolved.config.method.kind == "auto":
        resolved = resolved.with_value("method.kind", "full", "there is nothing to put an adapter beside")
    if resolved.config.optim.kind != "auto":
        return resolved
    return resolved.with_value("optim.kind", "muon", "measured: fewest bits per byte for the time, against AdamW")


def _prompts(resolved: Resolved, machine: Machine) -> Resolved:
    if resolved.config.eval.prompts != "auto":
        return resolved
    return resolved.with_value("eval.prompts", CODE_PROMPTS, "beginnings of Python code")


CODE_PROMPTS = ("def", "import", '    """Return', "class")


def _vocabulary(resolved: Resolved, machine: Machine) -> Resolved:
    tokenizer = resolved.config.tokenizer
    if tokenizer.kind != "train" or tokenizer.vocab_size != "auto":
        return resolved
    depth = _depth(resolved.config) or DEFAULT_DEPTH
    size = 4096 if depth <= 6 else 8192 if depth <= 10 else 16384 if depth <= 14 else 32768
    return resolved.with_value(
        "tokenizer.vocab_size", size, f"grows with the model: depth {depth}; a larger head would cost more than it saves"
    )


def _depth(config: Config) -> int | None:
    return config.model.depth or config.model.num_layers


def _model(resolved: Resolved, machine: Machine) -> Resolved:
    model = resolved.config.model
    shape, why = _base_shape(resolved)
    wanted: dict[str, tuple[object, str]] = {
        "hidden_size": (shape.hidden_size, why),
        "num_layers": (shape.num_layers, why),
        "num_heads": (shape.num_heads, why),
    }
    heads = model.num_heads or shape.num_heads
    own_sizes = model.hidden_size is not None
    hidden = model.hidden_size or shape.hidden_size
    wanted["num_kv_heads"] = (heads if own_sizes else shape.num_kv_heads, "one per query head" if own_sizes else why)
    wanted["head_dim"] = (hidden // heads if own_sizes else shape.head_dim, "hidden_size / num_heads" if own_sizes else why)
    if own_sizes:
        gated = model.architecture != "nanochat"
        size = math.ceil(8 * hidden / 3 / 64) * 64 if gated else 4 * hidden
        wanted["ffn_size"] = (size, "8/3 of the width, rounded up to 64 (SwiGLU)" if gated else "4x the width (squared ReLU)")
    else:
        wanted["ffn_size"] = (shape.ffn_size, why)
    wanted["tie_embeddings"] = (shape.tie_embeddings, f"{why}; tied below 1 B parameters, nanochat never")
    for field, (value, reason) in wanted.items():
        if getattr(model, field) is None:
            resolved = resolved.with_value(f"model.{field}", value, reason)
    if model.architecture != "nanochat" and model.logit_softcap is not None:
        resolved = resolved.with_value("model.logit_softcap", None, f"{model.architecture} does not cap its logits")
    return resolved


def _base_shape(resolved: Resolved) -> tuple[ModelShape, str]:
    model, vocab = resolved.config.model, resolved.config.tokenizer.vocab_size
    vocab_size = vocab if isinstance(vocab, int) else 50_304
    if model.preset:
        shape = find_shape(presets_dir() / "models", model.preset)
        if gap := native_gap(shape):
            raise UsageError(
                f"model.preset={model.preset!r}: the native decoder lacks {gap}",
                "`tuitrain plan` plans it; give sizes to train a model",
            )
        return shape, f"preset {model.preset}"
    depth = model.depth or (model.num_layers if model.hidden_size else None)
    why = f"depth {depth}: width 64 per layer" if model.depth else "default depth"
    shape = by_depth(depth or DEFAULT_DEPTH, vocab_size, model.architecture, tie_embeddings=model.tie_embeddings)
    return shape, why


def model_shape(config: Config, *, vocab_size: int) -> ModelShape:
    """The planner's shape of a resolved configuration."""
    model, seq_len = config.model, config.train.seq_len
    assert isinstance(seq_len, int), "resolve fills train.seq_len in"
    if model.base is not None:
        return replace(base_shape(Path(model.base)), name=config.run.name)
    sizes: dict[str, Any] = {name: getattr(model, name) for name in SIZES}
    assert None not in sizes.values(), "resolve fills the sizes of the model in"
    base = by_depth(1, vocab_size, model.architecture, tie_embeddings=model.tie_embeddings, max_seq_len=seq_len)
    return replace(base, name=config.run.name, **sizes)


def _seq_len(resolved: Resolved, machine: Machine) -> Resolved:
    train, depth = resolved.config.train, resolved.config.model.num_layers or DEFAULT_DEPTH
    if train.seq_len != "auto":
        return resolved
    size = 256 if depth <= 4 else 512 if depth <= 8 else 1024 if depth <= 12 else 2048
    reason = f"grows with the model: {depth} layers; measured at depth 4: 256 ends 0.04 bits per byte below 512"
    if train.batch_tokens != "auto":
        unit = resolved.config.run.processes * (train.micro_batch if train.micro_batch != "auto" else 1)
        fitting = size
        while train.batch_tokens % (fitting * unit):
            fitting //= 2
        if fitting != size:
            size, reason = (
                fitting,
                f"the longest power of two, up to {size}, that divides the batch of {train.batch_tokens} tokens",
            )
    return resolved.with_value("train.seq_len", size, reason)


def _batch(resolved: Resolved, machine: Machine) -> Resolved:
    train, nproc = resolved.config.train, resolved.config.run.processes
    if train.batch_tokens != "auto":
        return resolved
    assert isinstance(train.seq_len, int), "_seq_len comes before"
    if train.batch_sequences is not None:
        return resolved.with_value("train.batch_tokens", train.batch_sequences * train.seq_len, "batch_sequences x seq_len")
    tokens = _training_tokens(resolved)
    # Optimal batch grows with the length of training: B ~ D^0.383 (Bergsma et al. 2025, arXiv:2505.13738), anchored at a
    # measured optimum of this trainer.
    best = BATCH_ANCHOR_TOKENS * (tokens / BATCH_ANCHOR_LENGTH) ** 0.383 if tokens else BATCH_ANCHOR_TOKENS
    unit = train.seq_len * nproc * (train.micro_batch if train.micro_batch != "auto" else 1)
    sequences = max(1, 2 ** round(math.log2(best / unit)))
    reason = f"best measured batch for about {tokens:.2g} training tokens" if tokens else "best measured batch for short runs"
    return resolved.with_value("train.batch_tokens", sequences * unit, reason)


BATCH_ANCHOR_TOKENS = 4096
BATCH_ANCHOR_LENGTH = 3e6


def _training_tokens(resolved: Resolved) -> float | None:
    train = resolved.config.train
    if train.tokens:
        return train.tokens
    if train.steps and train.batch_tokens != "auto":
        return float(train.steps * train.batch_tokens)
    return None


def _rates(resolved: Resolved, machine: Machine) -> Resolved:
    optim = resolved.config.optim
    hidden = resolved.config.model.hidden_size or 256
    narrow = (hidden / 256) ** -0.5
    wanted: dict[str, tuple[float, str]] = {}
    if optim.kind == "adamw":
        wanted["lr"] = (min(6e-3, ADAMW_LR * narrow), f"AdamW: {ADAMW_LR:g} at width 256, falling as 1/sqrt(width)")
        wanted["weight_decay"] = (ADAMW_WEIGHT_DECAY, "usual for AdamW")
    else:
        wanted["weight_decay"] = (MUON_WEIGHT_DECAY, "measured: best of 0, 0.1 and 0.3 for runs of minutes")
        wanted["matrix_lr"] = (MUON_MATRIX_LR, "muon's update has norm 1 at any width: one rate for all sizes")
        wanted["lr"] = (HEAD_LR * narrow, f"head: {HEAD_LR:g} at width 256, falling as 1/sqrt(width)")
        if resolved.config.model.tie_embeddings:
            wanted["embedding_lr"] = (ADAMW_LR * narrow, "tied to the head: AdamW's rate, or the logits run away")
        else:
            wanted["embedding_lr"] = (EMBEDDING_LR, "a row of it moves only when its token comes")
    for key, (rate, reason) in wanted.items():
        if getattr(optim, key) == "auto":
            resolved = resolved.with_value(f"optim.{key}", rate, reason)
    return resolved


ADAMW_LR = 0.003
ADAMW_WEIGHT_DECAY = 0.1
MUON_MATRIX_LR = 0.02
MUON_WEIGHT_DECAY = 0.3
HEAD_LR = 0.004
EMBEDDING_LR = 0.2


TUNING_WARMUP_FRAC = 0.05
"""Trained weights meet an optimizer without memory: its first steps are kept small."""
EVAL_TIME_FRAC = 0.03
"""Share of the training time that the evaluations on the way may cost together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What a probe measured, as far as lengths and intervals depend on it."""

    step_s: float
    eval_tokens_per_s: float = math.inf
    validation_tokens: int = 0


def settle(resolved: Resolved, total_steps: int, reason: str, *, pace: Pace | None) -> Resolved:
    """Fill in what depends on the length of the run, and on the pace where it was measured."""
    config = resolved.config
    if config.train.steps != total_steps:
        resolved = resolved.with_value("train.steps", total_steps, reason)
    if config.schedule.warmup_steps == "auto":
        tuned = config.model.base is not None
        share = TUNING_WARMUP_FRAC if tuned else 0.0 if config.optim.kind == "muon" else 0.02
        warmup = min(max(0, total_steps - 1), math.ceil(share * total_steps) if tuned else round(share * total_steps))
        why = f"{share:.0%} of the run" if share else "muon starts calm: zero-initialised outputs, updates of norm 1"
        resolved = resolved.with_value("schedule.warmup_steps", warmup, why)
    if config.eval.every_steps == "auto":
        times = 5 if config.model.base is not None else 10
        every = max(1, total_steps // times)
        resolved = resolved.with_value("eval.every_steps", every, f"{times} evaluations over the run")
    if config.eval.max_tokens == "auto":
        resolved = resolved.with_value("eval.max_tokens", *_eval_tokens(resolved, total_steps, pace))
    if config.checkpoint.every_steps == "auto":
        quarter = max(1, total_steps // 4)
        every = min(quarter, max(1, round(600 / pace.step_s))) if pace else quarter
        resolved = resolved.with_value("checkpoint.every_steps", every, "every 10 minutes, at least 4 over the run")
    return resolved


def _eval_tokens(resolved: Resolved, total_steps: int, pace: Pace | None) -> tuple[int | None, str]:
    every = resolved.config.eval.every_steps
    if pace is None or not isinstance(every, int) or not 0 < every < total_steps:
        return None, "the whole validation set"
    each_s = EVAL_TIME_FRAC * total_steps * pace.step_s / (total_steps // every)
    affordable = each_s * pace.eval_tokens_per_s
    if affordable >= pace.validation_tokens:
        return None, f"the whole validation set takes less than {EVAL_TIME_FRAC:.0%} of the time"
    return max(
        1, int(affordable)
    ), f"{EVAL_TIME_FRAC:.0%} of the time, of {pace.validation_tokens} tokens; the final one reads all"


def parameter_count(config: Config, *, vocab_size: int) -> int:
    """Parameters of a resolved configuration."""
    return int(count_parameters(model_shape(config, vocab_size=vocab_size)).value)
