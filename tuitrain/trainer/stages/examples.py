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
from tuitrain.errors import EnvironmentError_
from tuitrain.model.adapters import add_adapter, check_base, describe_base, weights_hash
from tuitrain.model.pretrained import ATTENTION, LoadOptions, Pretrained, load_base
from tuitrain.runs.adapter_plan import adapter_of
from tuitrain.runs.base_model import BaseModel
from tuitrain.runs.home import cache_dir
from tuitrain.trainer.flight import check_data, check_model, judge
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.ddp import replicate
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.power import PowerMeter
from tuitrain.trainer.precision import Recipe, recipe
from tuitrain.trainer.preference import METHODS
from tuitrain.trainer.preference_loss import PreferenceLoss
from tuitrain.trainer.references import add_references
from tuitrain.trainer.setup import DataFacts, Language, Prompt, Setup
from tuitrain.trainer.stages.text import checkpoints_of, loss_head, progress_to, same_on_all
from tuitrain.trainer.telemetry import MemoryMeter, Telemetry
from tuitrain.trainer.weights import AdapterWeights, PretrainedWeights, Weights, copy_tokenizer
from tuitrain_kernels import Choice

PROMPTS = 3
"""Held-out prompts answered at every evaluation."""


def build_examples(run_dir: Path, resolved: Resolved, world: World, telemetry: Telemetry, peak_flop_per_s: float) -> Setup:
    """All parts of a fine-tuning run. FlightError where something would go wrong silently."""
    base = BaseModel(name=resolved.config.run.name, folder=Path(str(resolved.config.model.base)), origin="")
    prepared = _prepare(resolved, world, telemetry)
    resolved = fit_seq_len(resolved, prepared, base.context)
    loader = make_loader(resolved, prepared)
    config = resolved.config
    telemetry.phase("check", "examples, masks, template, tokenizer")
    findings = check_data(prepared, loader, config, context=base.context)
    if any(each.severity == "block" for each in findings):  # before minutes go into loading the model
        judge(run_dir, findings, telemetry, is_main=world.is_main)
    telemetry.phase("model", f"loading {base.folder.name}")
    kind = recipe(str(config.train.precision), world.device)
    model = _load(resolved, base.folder, kind, world.device)
    attention = _attention(resolved, world, kind)
    model.set_attention(attention.name)
    telemetry.phase("check", "head, packing, gradients")
    findings += check_model(model, loader, quant=_quant(resolved))
    judge(run_dir, findings, telemetry, is_main=world.is_main)
    model.recompute = "full" if config.train.recompute != "none" else "none"
    loss = _loss(resolved, model, world)
    if config.run.stage == "dpo" and METHODS[config.preference.loss].needs_reference:
        facts = {
            "model": weights_hash(base.folder), "tokenizer": prepared.encoder.content_hash, "quant": _quant(resolved),
            "precision": str(config.train.precision), "attention": attention.name,
        }  # fmt: skip
        add_references(model, loader, cache_dir() / "references", world, telemetry, facts=facts)
    make_optimizers = functools.partial(Optimizers, model, config.optim, device=world.device)
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
        module=replicate(loss, world),
        make_optimizers=make_optimizers,
        optimizers=make_optimizers(),
        weights=_weights(resolved, base.folder, model, prepared),
        checkpoints=checkpoints_of(run_dir, resolved),
        peak_flop_per_s=peak_flop_per_s,
        choose_attention=lambda compiled: attention,
        attention=attention,
        compiles=False,
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


def _quant(resolved: Resolved) -> str | None:
    return resolved.config.method.quant if resolved.config.method.kind == "qlora" else None


def _load(resolved: Resolved, base: Path, kind: Recipe, device: torch.device) -> Pretrained:
    """The base as its method keeps it, with the adapter beside it."""
    config = resolved.config
    method = config.method
    torch.manual_seed(config.run.seed)  # an adapter's first matrix is drawn
    options = LoadOptions(
        # Frozen weights need no master copy: what computes is what is kept.
        dtype=kind.weights if method.kind == "full" else kind.compute,
        quant=_quant(resolved),
        double_quant=method.double_quant,
        compute=kind.compute,
        trust_remote_code=config.model.trust_remote_code,
    )
    lm = load_base(base, options, device)
    adapted = None if method.kind == "full" else add_adapter(lm, method, base)
    return Pretrained(lm, compute_dtype=kind.compute, adapted=adapted)


def _attention(resolved: Resolved, world: World, kind: Recipe) -> Choice:
    """transformers' implementations: flash-attn where it is installed and can run, else torch's own."""
    from tuitrain_kernels.attention.flash import flash_unavailable

    wanted = resolved.config.train.attention
    why_not = flash_unavailable(world.device, kind.compute)
    if wanted == "auto":
        if why_not is None:
            return Choice(name="flash-attn", reason="fastest on this device; packing is cut by lengths")
        return Choice(name="sdpa", reason="torch's fused kernel", rejected=(("flash-attn", why_not),))
    if wanted not in ATTENTION:
        raise EnvironmentError_(
            f"train.attention={wanted!r} is of our own decoder; models of transformers have {', '.join(ATTENTION)}",
            "train.attention=auto",
        )
    if wanted == "flash-attn" and why_not is not None:
        raise EnvironmentError_(f"train.attention='flash-attn': {why_not}", "train.attention=sdpa works everywhere")
    return Choice(name=wanted, reason="as asked for")


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


def _weights(resolved: Resolved, base: Path, model: Pretrained, prepared: PreparedExamples) -> Weights:
    encoder = prepared.encoder
    template = encoder.template
    save_tokenizer = functools.partial(
        copy_tokenizer, base, chat_template=template.source if template else None, end_ids=encoder.end_ids
    )

    def save(folder: Path) -> None:
        save_tokenizer(folder)

    if model.adapted is None:
        return PretrainedWeights(model=model, save_tokenizer=save)
    method = resolved.config.method
    described = describe_base(base, quant=_quant(resolved), double_quant=method.double_quant)
    check_base(described, base)
    return AdapterWeights(model=model, base=described, save_tokenizer=save)
