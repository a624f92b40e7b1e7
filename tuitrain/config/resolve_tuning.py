"""Fill in what a run that starts from a model leaves open: the base's folder, method, lengths, batch, rates.

Rates: full fine-tuning takes 2e-5 at width 4096 (Llama 2, Touvron et al. 2023, arXiv:2307.09288, section 3.1), more for
narrower models as 1/sqrt(width); an adapter takes ten times that, whatever its rank (Schulman et al. 2025, "LoRA Without
Regret", thinkingmachines.ai/blog/lora); preference tuning a share that depends on its loss (`config.preference`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tuitrain.config.preference import METHODS
from tuitrain.config.resolved import Resolved
from tuitrain.config.schema import SourceSection
from tuitrain.errors import ConfigError, Problem
from tuitrain.files import read_json
from tuitrain.runs.base_model import BaseModel, find_base, preset_of
from tuitrain.runs.machine import Machine
from tuitrain_planners import ModelShape

FULL_LR: Final = 2e-5
FULL_LR_WIDTH: Final = 4096
MOST_FULL_LR: Final = 1e-4
ADAPTER_LR_FACTOR: Final = 10.0
MIDTRAIN_LR_FACTOR: Final = 5.0
SEQ_LEN = {"cpu": 1024, "cuda": 2048}
EXAMPLES_PER_STEP: Final = 16
PACKS_PER_STEP: Final = 4
PAIRS_PER_STEP: Final = 8
MIDTRAIN_SEQUENCES: Final = 16
EXAMPLE_STAGES: Final = ("sft", "dpo")


def resolve_tuning(resolved: Resolved, machine: Machine, say: Callable[[str], None], *, plan_only: bool = False) -> Resolved:
    """Everything about a run from a base that can be known before its data is read."""
    model = resolved.config.model
    assert model.base is not None, "only runs from a base come here"
    base = find_base(model.base, revision=model.revision, plan_only=plan_only, say=say)
    resolved = resolved.with_value("model.base", str(base.folder), base.origin)
    rules = (_sources, _tokenizer, _method, _preference, _optimizer, _packing, _seq_len, _batch, _length, _rates, _judging)
    for rule in rules:
        resolved = rule(resolved, base)
    return resolved


def base_shape(folder: Path) -> ModelShape:
    """The planner's shape of a resolved base."""
    preset = None if folder.is_dir() else preset_of(str(folder))
    return BaseModel(name=folder.name, folder=folder, origin="", preset=preset).shape()


def _sources(resolved: Resolved, base: BaseModel) -> Resolved:
    config = resolved.config
    if config.run.stage in EXAMPLE_STAGES and "sources" not in config.data.model_fields_set:
        if config.run.stage == "dpo":
            message = "preference tuning needs pairs of answers, and none are embedded"
            raise ConfigError(
                [Problem(where="data.sources", key="data.sources", message=message, hint='{path = "pairs.jsonl"}')]
            )
        sources = (SourceSection(corpus="python-docstrings"),)
        return resolved.with_value("data.sources", sources, "nothing else was named: the embedded instruction pairs")
    if config.run.stage == "midtrain" and config.data.replay_frac and not config.data.replay_sources:
        before = _run_config(base).get("data", {}).get("sources")
        if not before:
            message = "model.base is no run of ours, so what it was pretrained on is not known"
            hint = "name it in data.replay_sources, or set data.replay_frac = 0"
            raise ConfigError([Problem(where="data", key="data.replay_frac", message=message, hint=hint)])
        replayed = [SourceSection.model_validate(each) for each in before]
        return resolved.with_value("data.replay_sources", tuple(replayed), f"what {base.name} was pretrained on")
    return resolved


def _tokenizer(resolved: Resolved, base: BaseModel) -> Resolved:
    resolved = resolved.with_value("tokenizer.kind", "file", "the base's own")
    resolved = resolved.with_value("tokenizer.path", base.folder, "the base's own")
    return resolved.with_value("tokenizer.vocab_size", "auto", "the base's own")


def _method(resolved: Resolved, base: BaseModel) -> Resolved:
    method = resolved.config.method
    if method.kind == "auto":
        text = resolved.config.run.stage == "midtrain"
        reason = (
            "much text moves many weights" if text else "examples by the thousand fit into an adapter; a third of the memory"
        )
        resolved = resolved.with_value("method.kind", "full" if text else "lora", reason)
    if resolved.config.method.kind != "full" and method.alpha == "auto":
        resolved = resolved.with_value("method.alpha", 2.0 * method.rank, "twice the rank: the rate then suits every rank")
    if resolved.config.method.kind != "full" and method.targets == "auto":
        reason = "every linear layer, feed-forward too: attention alone learns less at equal size (LoRA Without Regret)"
        resolved = resolved.with_value("method.targets", ("all-linear",), reason)
    if resolved.config.method.kind == "qlora" and method.quant_embedding == "auto":
        adapted = resolved.config.method.adapted_end
        reason = (
            f"{adapted} is adapted, in 16 bits"
            if adapted
            else "half the bytes of embedding and head; a row is off by 1/254 at most"
        )
        resolved = resolved.with_value("method.quant_embedding", adapted is None, reason)
    return resolved


def _preference(resolved: Resolved, base: BaseModel) -> Resolved:
    section = resolved.config.preference
    if resolved.config.run.stage != "dpo":
        return resolved
    method = METHODS[section.loss]
    if section.beta == "auto":
        resolved = resolved.with_value("preference.beta", method.beta, method.source)
    if section.gamma == "auto":
        beta = resolved.config.preference.beta
        assert isinstance(beta, float), "just filled in"
        gamma = method.gamma(beta)
        reason = f"{method.gamma_per_beta:g} x beta: {method.source}" if gamma else f"{section.loss} has no margin"
        resolved = resolved.with_value("preference.gamma", gamma, reason)
    return resolved


def _optimizer(resolved: Resolved, base: BaseModel) -> Resolved:
    if resolved.config.optim.kind != "auto":
        return resolved
    inherited = _run_config(base).get("optim", {}).get("kind") if resolved.config.run.stage == "midtrain" else None
    if inherited in ("muon", "adamw") and resolved.config.method.kind == "full":
        return resolved.with_value("optim.kind", inherited, f"as {base.name} was pretrained")
    return resolved.with_value("optim.kind", "adamw", "what published fine-tunings use")


def _packing(resolved: Resolved, base: BaseModel) -> Resolved:
    config = resolved.config
    if config.data.packing != "auto":
        return resolved
    if config.run.stage != "sft":
        return resolved.with_value("data.packing", False, f"{config.run.stage} has nothing to pack")
    return resolved.with_value("data.packing", True, "no padding is computed; a self-test proves examples blind to each other")


def _seq_len(resolved: Resolved, base: BaseModel) -> Resolved:
    if resolved.config.train.seq_len != "auto":
        return resolved
    usual = SEQ_LEN[resolved.config.run.device]
    size = min(base.context, usual)
    reason = f"usual on {resolved.config.run.device}; more when an example needs it" if size == usual else "the base's context"
    return resolved.with_value("train.seq_len", size, reason)


def _batch(resolved: Resolved, base: BaseModel) -> Resolved:
    config, train, nproc = resolved.config, resolved.config.train, resolved.config.run.processes
    assert isinstance(train.seq_len, int), "_seq_len comes before"
    if train.batch_tokens != "auto":
        return resolved
    if train.batch_sequences is None:
        if config.run.stage == "midtrain":
            count, reason = MIDTRAIN_SEQUENCES, "usual for continued pretraining at small scale"
        elif config.run.stage == "dpo":
            count, reason = PAIRS_PER_STEP, "small batches: adapters lose by large ones (LoRA Without Regret)"
        elif config.data.packing is True:
            count, reason = PACKS_PER_STEP, "small batches: each packed sequence holds several examples"
        else:
            count, reason = EXAMPLES_PER_STEP, "small batches: adapters lose by large ones (LoRA Without Regret)"
        unit = nproc * (train.micro_batch if train.micro_batch != "auto" else 1)
        count = -(-count // unit) * unit
        resolved = resolved.with_value("train.batch_sequences", count, reason)
    sequences = resolved.config.train.batch_sequences
    assert sequences is not None, "just filled in"
    return resolved.with_value("train.batch_tokens", sequences * train.seq_len, "batch_sequences x seq_len, padding counted")


def _length(resolved: Resolved, base: BaseModel) -> Resolved:
    train = resolved.config.train
    if any(getattr(train, name) is not None for name in ("tokens", "steps", "epochs", "minutes")):
        return resolved
    epochs = 2.0 if resolved.config.run.stage == "sft" else 1.0
    why = "two passes: a third seldom helps and begins to recite" if epochs == 2 else "one pass"
    return resolved.with_value("train.epochs", epochs, why)


def _rates(resolved: Resolved, base: BaseModel) -> Resolved:
    config, optim = resolved.config, resolved.config.optim
    before = _run_config(base).get("optim", {})
    if config.run.stage == "midtrain" and before.get("kind") == optim.kind:
        for key in ("lr", "embedding_lr", "matrix_lr", "weight_decay"):
            if getattr(optim, key) == "auto" and isinstance(before.get(key), (int, float)):
                factor = 1.0 if key == "weight_decay" else REWARM_FRAC
                reason = f"{factor:g} x the peak of {base.name}" if factor != 1 else f"as {base.name}"
                resolved = resolved.with_value(f"optim.{key}", before[key] * factor, reason)
        return resolved
    adapter, preference = config.method.kind != "full", config.run.stage == "dpo"
    width = base.shape().hidden_size
    rate = min(MOST_FULL_LR, FULL_LR * (FULL_LR_WIDTH / width) ** 0.5)
    reason = f"full fine-tuning: {FULL_LR:g} at width {FULL_LR_WIDTH}, as 1/sqrt(width) {rate:.1e} at {width}"
    if config.run.stage == "midtrain":
        rate, reason = rate * MIDTRAIN_LR_FACTOR, f"{MIDTRAIN_LR_FACTOR:g} x the rate of full fine-tuning"
    if adapter:
        rate, reason = rate * ADAPTER_LR_FACTOR, f"{ADAPTER_LR_FACTOR:g} x the rate of {reason} (LoRA Without Regret)"
    if preference:
        scale = METHODS[config.preference.loss].learning_rate_scale
        rate, reason = rate * scale, f"1/{1 / scale:g} of: {reason}"
    if optim.lr == "auto":
        resolved = resolved.with_value("optim.lr", float(f"{rate:.2g}"), reason)
    if optim.weight_decay == "auto":
        decay, why = (0.0, "an adapter is small already") if adapter else (0.01, "usual for fine-tuning")
        resolved = resolved.with_value("optim.weight_decay", decay, why)
    return resolved


def _judging(resolved: Resolved, base: BaseModel) -> Resolved:
    judged = resolved.config.eval
    if resolved.config.run.stage not in EXAMPLE_STAGES:
        return resolved
    if "temperature" not in judged.model_fields_set:
        resolved = resolved.with_value(
            "eval.temperature", 0.0, "the same answers can be compared from evaluation to evaluation"
        )
    if judged.max_tokens == "auto":
        resolved = resolved.with_value("eval.max_tokens", None, "held-out examples are few: all of them, every time")
    return resolved


REWARM_FRAC: Final = 0.3
"""Peak of a re-warmed schedule as a share of pretraining's (Ibrahim et al. 2024, arXiv:2403.08763: re-warming to the full peak
forgets more; lower peaks adapt less)."""


def _run_config(base: BaseModel) -> dict[str, dict[str, Any]]:
    """The resolved configuration of the run a base is a checkpoint of; empty for other bases."""
    raw = read_json(base.folder.parent.parent / "resolved.json")
    return dict(raw["config"]) if isinstance(raw, dict) and isinstance(raw.get("config"), dict) else {}
