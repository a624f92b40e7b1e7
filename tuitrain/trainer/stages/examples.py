"""Fine-tuning: examples, from a base. sft learns the answers, dpo which of two is better; all weights, or an adapter beside
frozen (and quantised) ones. The model is transformers' own, so every family of it can be trained."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from tuitrain.config.resolve import model_shape
from tuitrain.config.resolved import Resolved
from tuitrain.data.chat.loading import fit_seq_len, make_loader, prepare_for
from tuitrain.data.chat.preparation import PreparedExamples
from tuitrain.model.adapters import weights_hash
from tuitrain.model.pretrained import Pretrained
from tuitrain.runs.adapter_plan import adapter_of
from tuitrain.runs.base_model import BaseModel
from tuitrain.runs.data_facts import write_data_facts
from tuitrain.runs.home import cache_dir
from tuitrain.trainer.flight import check_data, check_machine, check_model, judge
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.apply import parallelise
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.power import PowerMeter
from tuitrain.trainer.precision import recipe
from tuitrain.trainer.preference import METHODS
from tuitrain.trainer.preference_loss import PreferenceLoss
from tuitrain.trainer.references import add_references
from tuitrain.trainer.setup import DataFacts, Language, Prompt, Setup
from tuitrain.trainer.stages.base import NOT_COMPILED, attention_of, load_model, quant_of, weights_of
from tuitrain.trainer.stages.text import checkpoints_of, loss_head, progress_to, same_on_all
from tuitrain.trainer.telemetry import MemoryMeter, Telemetry

PROMPTS = 3
"""Held-out prompts answered at every evaluation."""


def build_examples(run_dir: Path, resolved: Resolved, world: World, telemetry: Telemetry, peak_flop_per_s: float) -> Setup:
    """All parts of a fine-tuning run. FlightError where something would go wrong silently."""
    base = BaseModel(name=resolved.config.run.name, folder=Path(str(resolved.config.model.base)), origin="")
    prepared = _prepare(resolved, world, telemetry)
    resolved = fit_seq_len(resolved, prepared, base.context)
    loader = make_loader(resolved, prepared)
    config = resolved.config
    if world.is_main:
        write_data_facts(run_dir, config.data.sources, [each.to_dict() for each in prepared.summaries], prepared.content_hash)
    telemetry.phase("check", "examples, masks, template, tokenizer")
    findings = check_data(prepared, loader, config, context=base.context)
    if any(each.severity == "block" for each in findings):  # before minutes go into loading the model
        judge(run_dir, findings, telemetry, is_main=world.is_main)
    telemetry.phase("model", f"loading {base.folder.name}")
    kind = recipe(str(config.train.precision), world.device)
    model = load_model(resolved, base.folder, kind, world.device)
    attention = attention_of(resolved, world, kind, model)
    model.set_attention(attention.name)
    telemetry.phase("check", "head, packing, gradients")
    findings += check_model(model, loader, quant=quant_of(resolved))
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    weights = weights_of(resolved, base.folder, model, prepared.encoder)
    keep = config.checkpoint.keep_last + config.checkpoint.keep_best
    findings += check_machine(run_dir, weights, trained, world, data_hash=prepared.content_hash, keep=keep)
    judge(run_dir, findings, telemetry, is_main=world.is_main)
    model.recompute = "full" if config.train.recompute != "none" else "none"
    loss = _loss(resolved, model, world)
    if config.run.stage == "dpo" and METHODS[config.preference.loss].needs_reference:
        facts = {
            "model": weights_hash(base.folder), "tokenizer": prepared.encoder.content_hash, "quant": quant_of(resolved),
            "precision": str(config.train.precision), "attention": attention.name,
        }  # fmt: skip
        add_references(model, loader, cache_dir() / "references", world, telemetry, facts=facts)
    # Cut last: what came before called the model past its loss.
    parallel = parallelise(loss, model, config.parallel, world, kind)
    make_optimizers = functools.partial(Optimizers, model, config.optim, device=world.device, owned=parallel.owned)
    return Setup(
        run_dir=run_dir,
        resolved=resolved,
        world=world,
        telemetry=telemetry,
        meter=MemoryMeter(world.device),
        power=PowerMeter(world.device),
        data=DataFacts(content_hash=prepared.content_hash, validation_tokens=prepared.validation.num_tokens),
        loader=loader,
        language=_language(resolved, prepared),
        plan_shape=model_shape(config, vocab_size=0),
        adapter=adapter_of(config),
        recipe=kind,
        decoder=model,
        loss=loss,
        parallel=parallel,
        make_optimizers=make_optimizers,
        optimizers=make_optimizers(),
        weights=weights,
        checkpoints=checkpoints_of(run_dir, resolved),
        peak_flop_per_s=peak_flop_per_s,
        choose_attention=lambda compiled: attention,
        attention=attention,
        why_not_compiled=NOT_COMPILED,
    )


def _prepare(resolved: Resolved, world: World, telemetry: Telemetry) -> PreparedExamples:
    def run() -> PreparedExamples:
        return prepare_for(resolved, cache_dir=cache_dir(), progress=progress_to(telemetry))

    telemetry.phase("data", "reading examples")
    prepared = run() if world.is_main else None
    world.barrier()
    prepared = prepared or run()
    same_on_all(world, prepared.content_hash)
    return prepared


def _loss(resolved: Resolved, model: Pretrained, world: World) -> LanguageModelLoss | PreferenceLoss:
    if resolved.config.run.stage == "sft":
        return LanguageModelLoss(model, head=loss_head(resolved))

    def total(sums: torch.Tensor) -> torch.Tensor:
        return sums.new_tensor(world.sum(sums.tolist()))

    return PreferenceLoss(model, resolved.config.preference, total=total)


def _language(resolved: Resolved, prepared: PreparedExamples) -> Language:
    encoder, asked = prepared.encoder, resolved.config.eval.prompts
    prompts: list[Prompt] = []
    if asked == "auto":
        for index in range(min(PROMPTS, len(prepared.validation))):
            unit = index * (2 if resolved.config.run.stage == "dpo" else 1)
            if unit < len(prepared.validation):
                ids = prepared.validation[unit].ids[: int(prepared.validation.prompts[unit])].tolist()
                plain = encoder.decode([each for each in ids if each not in encoder.special_ids])
                shown = (*prepared.questions, *[plain] * (unit + 1))[unit] or plain
                prompts.append(Prompt(shown=shown + "\n", ids=ids))
    else:
        for text in asked:
            if encoder.template is not None:
                rendered = encoder.template.render([{"role": "user", "content": text}], add_generation_prompt=True)
                prompts.append(Prompt(shown=text + "\n", ids=encoder.encode(rendered).ids))
            else:
                prompts.append(Prompt(shown=text, ids=encoder.encode_start(text)))

    def decode(ids: object) -> str:
        return encoder.decode([int(each) for each in ids])  # type: ignore[attr-defined]

    return Language(
        decode=decode, end_ids=encoder.end_ids, pad_id=encoder.pad_id or encoder.eos_id or 0, prompts=tuple(prompts)
    )
