"""What was typed after `tuitrain plan`, by the names of the options; and what of it contradicts itself."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, Final, get_type_hints

import typer

from tuitrain.cli.plan_budget import refuse_two_budgets
from tuitrain.cli.plan_input import MOST_HOURS, MOST_USD, refuse_count, refuse_not_within

OF_A_CONFIG: Final = {"model", "overrides", "gpu", "explain", "simulate", "as_json", "markdown", "html"}
"""What `plan CONFIG.toml` reads; everything else stands in the file."""
OF_ADAPTERS: Final = {"rank", "targets", "base", "dropout", "adapter_bits"}
"""Options that mean something with adapters only."""
FINDING: Final = ("hours", "gpu_hours", "usd", "flop", "tokens")
"""Budgets that find a model when none is named."""
METHODS: Final = ("full", "lora", "qlora")
STAGES: Final = ("pretrain", "sft", "dpo")
COUNTS: Final = ("global_batch", "gpus", "tp", "pp", "vp", "cp", "ep", "seq", "micro_batch", "accum", "rank", "shard_group")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What was typed: every option of the command, once. `signature` shows them to Typer."""

    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A preset (llama-3-8b), a depth (d12), a Hugging Face config.json or its folder, or a run's CONFIG.toml.",
            show_default=False,
        ),
    ] = None
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="For a CONFIG: overrides.", show_default=False)
    ] = None
    gpu: Annotated[
        str | None, typer.Option(help="Hardware preset (h100-80gb, rtx-4090, ...). Default: this machine, measured.")
    ] = None
    memory: Annotated[
        str | None, typer.Option(help="Another amount of memory per device: 24GiB, 24GB (7 % less). Default: the device's.")
    ] = None
    params: Annotated[
        str | None, typer.Option(help="Instead of MODEL: the usual Llama-like shape nearest to this size, as 7B or 7e9.")
    ] = None
    hours: Annotated[
        float | None, typer.Option(help="Length of the run as a time. Without a MODEL: the best one for this time.")
    ] = None
    gpu_hours: Annotated[float | None, typer.Option(help="... as hours of all devices together.")] = None
    usd: Annotated[float | None, typer.Option(help="... as money, at the device's price.")] = None
    flop: Annotated[str | None, typer.Option(help="... as compute: 1e21. Without a MODEL: the one that suits it.")] = None
    gpus: Annotated[int, typer.Option(help="Devices altogether.")] = 1
    tp: Annotated[int, typer.Option(help="Tensor parallelism: devices that cut each layer's matrices.")] = 1
    pp: Annotated[int, typer.Option(help="Pipeline parallelism: stages of layers.")] = 1
    vp: Annotated[int, typer.Option(help="Turns in which layers are dealt out to stages (interleaved schedule).")] = 1
    cp: Annotated[int, typer.Option(help="Context parallelism: devices that cut the sequence.")] = 1
    ep: Annotated[int, typer.Option(help="Expert parallelism: devices that share out the experts.")] = 1
    imbalance: Annotated[float, typer.Option(help="Tokens of the device whose experts are visited most, over the mean.")] = 1.0
    sequence_parallel: Annotated[
        bool, typer.Option("--sequence-parallel/--no-sequence-parallel", help="With --tp: cut norms and residuals too.")
    ] = True
    gpipe: Annotated[bool, typer.Option("--gpipe", help="A pipeline that runs all forwards first, not 1F1B.")] = False
    shard_group: Annotated[
        int | None, typer.Option(help="Devices that share states (HSDP); the others hold copies. Default: all.")
    ] = None
    offload: Annotated[str, typer.Option(help="none, optimizer or all: what lives in host memory.")] = "none"
    no_sync: Annotated[
        bool, typer.Option("--no-sync", help="Accumulate whole gradients and reduce once per step (ZeRO-2, 3).")
    ] = False
    zero: Annotated[
        str, typer.Option(help="ZeRO stage 0, 1, 2 or 3; `all`: the lowest that fits, and the table of all of them.")
    ] = "0"
    reshard: Annotated[
        bool, typer.Option("--reshard/--no-reshard", help="ZeRO-3: give gathered weights back between forward and backward.")
    ] = True
    framework: Annotated[
        str, typer.Option(help="Whose software: tuitrain, fsdp2-hf, hf-trainer, deepspeed, megatron, litgpt, torchtune, ...")
    ] = "tuitrain"
    method: Annotated[str, typer.Option(help="full, lora or qlora.")] = "full"
    rank: Annotated[int, typer.Option(help="Rank of the adapters.")] = 16
    targets: Annotated[str, typer.Option(help="Matrices with adapters: all-linear, or some of q,k,v,o,gate,up,down,head.")] = (
        "all-linear"
    )
    base: Annotated[
        str | None, typer.Option(help="How frozen weights are kept: 16bit, fp32, int8, nf4, nf4-dq, int4-gptq, int8-gptq.")
    ] = None
    dropout: Annotated[bool, typer.Option("--dropout", help="Adapters drop inputs out, which keeps copies.")] = False
    adapter_bits: Annotated[int, typer.Option(help="Bits of an adapter's weight: 32 (peft) or 16.")] = 32
    stage: Annotated[str, typer.Option(help="pretrain, sft or dpo: preference pairs beside a reference model.")] = "pretrain"
    seq: Annotated[int | None, typer.Option(help="Tokens per sequence.")] = None
    micro_batch: Annotated[int, typer.Option(help="Sequences per forward pass.")] = 1
    accum: Annotated[int, typer.Option(help="Forward passes per optimizer step.")] = 1
    precision: Annotated[str, typer.Option(help="fp32, bf16-mixed, bf16-pure, fp16-mixed or fp8-mixed.")] = "bf16-mixed"
    optimizer: Annotated[str, typer.Option(help="adamw, adamw-8bit, adamw-paged-8bit, adafactor, sgd, muon, ...")] = "adamw"
    recompute: Annotated[str, typer.Option(help="none, selective or full.")] = "none"
    attention: Annotated[str, typer.Option(help="flash, or naive: the scores written out.")] = "flash"
    step_in_backward: Annotated[
        bool, typer.Option("--step-in-backward", help="Each gradient moves its weight as soon as it is made.")
    ] = False
    loss: Annotated[str | None, typer.Option(help="plain, bf16, chunked or fused. Default: what the framework runs.")] = None
    tokens: Annotated[str | None, typer.Option(help="Length of the run: 20B, 3e9. Default: what the law finds optimal.")] = None
    law: Annotated[str, typer.Option(help="Scaling law: epoch, chinchilla-3, chinchilla-3-unrounded.")] = "epoch"
    price: Annotated[float | None, typer.Option(help="Rent of one device, USD per hour. Default: its list price.")] = None
    kwh_price: Annotated[float | None, typer.Option(help="A device of your own: USD per kWh of electricity.")] = None
    purchase: Annotated[float | None, typer.Option(help="... that cost so many USD: the run pays its share of the life.")] = (
        None
    )
    spot: Annotated[bool, typer.Option("--spot", help="Rent at spot prices: cheaper, and taken back at any time.")] = False
    embodied: Annotated[bool, typer.Option("--embodied", help="Add the share of what making the devices emitted.")] = False
    country: Annotated[str, typer.Option(help="Whose electricity: world, us, germany, france, ...")] = "world"
    explain: Annotated[
        str | None, typer.Option(help="Print how one number comes about, for example memory.peak_bytes; `all` lists them.")
    ] = None
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Run the trainer's step on tensors without memory too: traced beside planned.")
    ] = False
    fit: Annotated[
        bool, typer.Option("--fit", help="Search layouts of the GPUs at a fixed global batch; plan the fastest.")
    ] = False
    global_batch: Annotated[int | None, typer.Option(help="With --fit: sequences per step. Default: as otherwise typed.")] = (
        None
    )
    batch_tokens: Annotated[str | None, typer.Option(help="With --fit: the same in tokens: 4194304.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON, in SI base units.")] = False
    markdown: Annotated[bool, typer.Option("--markdown", help="The plan as Markdown.")] = False
    html: Annotated[bool, typer.Option("--html", help="The plan as one self-contained page: --html > plan.html")] = False

    @property
    def names_no_model(self) -> bool:
        """Whether the question is which model."""
        return self.model is None and self.params is None


def signature() -> inspect.Signature:
    """The command's parameters: its context, then every field of Asked by its type, help and default."""
    kind, hints = inspect.Parameter.POSITIONAL_OR_KEYWORD, get_type_hints(Asked, include_extras=True)
    options = [inspect.Parameter(each.name, kind, default=each.default, annotation=hints[each.name]) for each in fields(Asked)]
    return inspect.Signature([inspect.Parameter("context", kind, annotation=typer.Context), *options], return_annotation=int)


def refuse_contradictions(context: typer.Context, asked: Asked) -> None:
    """What was typed and would do nothing, or twice the same, or is no number, is an error."""
    from tuitrain.errors import UsageError

    given = given_of(context)
    if asked.model is not None and asked.params is not None:
        raise UsageError(f"both {asked.model} and --params {asked.params} name a model", "give one of them")
    if asked.names_no_model and asked.method == "full" and not any(getattr(asked, each) is not None for each in FINDING):
        raise UsageError(
            "plan needs a MODEL, --params SIZE, or a budget to find one (--hours, --gpu-hours, --usd, --flop, --tokens)",
            "tuitrain plan llama-3-8b --gpu h100-80gb",
        )
    if asked.hours is not None and asked.hours <= 0:
        raise UsageError(f"--hours {asked.hours:g}", "a positive time")
    if asked.zero == "all" and asked.names_no_model:
        raise UsageError(
            "--zero all chooses a stage for a MODEL, and there is none", "--zero 3 finds what ZeRO-3 makes room for"
        )
    refuse_two_budgets(asked)
    of_config = asked.model is not None and asked.model.endswith(".toml")
    if of_config and (extra := given - OF_A_CONFIG):
        raise UsageError(f"{_options(extra)} and a CONFIG.toml", "set it in the file, or as SECTION.KEY=VALUE")
    if asked.overrides and not of_config:
        raise UsageError(
            f"overrides {' '.join(asked.overrides)} without a CONFIG.toml", "options set what a preset's plan depends on"
        )
    if asked.method == "full" and (extra := given & OF_ADAPTERS):
        raise UsageError(f"{_options(extra)} without adapters", "--method lora or --method qlora")
    if asked.gpipe and asked.pp == 1:
        raise UsageError("--gpipe without a pipeline", "--pp 2 or more")
    for name in COUNTS:
        refuse_count(f"--{name.replace('_', '-')}", getattr(asked, name))
    refuse_not_within("--hours", asked.hours, MOST_HOURS)
    refuse_not_within("--price", asked.price, MOST_USD)
    refuse_not_within("--kwh-price", asked.kwh_price, MOST_USD)


def given_of(context: typer.Context) -> set[str]:
    """Names of the parameters that were typed, not left at their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _options(names: set[str]) -> str:
    return ", ".join(f"--{each.replace('_', '-')}" for each in sorted(names))
