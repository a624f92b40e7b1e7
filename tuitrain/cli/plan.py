"""`tuitrain plan MODEL|CONFIG`: every number of a training run before it starts. Needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuitrain.cli import plan_calibrate
from tuitrain.cli.default_command import DEFAULT_COMMAND, DefaultCommand
from tuitrain.cli.plan_input import refuse_several
from tuitrain.cli.plan_validate import validate

if TYPE_CHECKING:
    from tuitrain_planners import Plan


group = typer.Typer(cls=DefaultCommand, help="Every number of a training run before it starts.")


def register(app: typer.Typer) -> None:
    """Add `plan MODEL`, and the commands beside it."""
    group.command(DEFAULT_COMMAND, hidden=True)(plan)
    group.command("calibrate")(plan_calibrate.calibrate)
    group.command("validate")(validate)
    app.add_typer(group, name="plan")


def plan(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A preset (llama-3-8b), a depth (d12), a Hugging Face config.json or its folder, or a run's CONFIG.toml.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="For a CONFIG: overrides.", show_default=False)
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="Hardware preset (h100-80gb, rtx-4090, ...). Default: this machine, measured.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Another amount of memory per device: 24GiB, 24GB (7 % less). Default: the device's.")
    ] = None,
    params: Annotated[
        str | None, typer.Option(help="Instead of MODEL: the usual Llama-like shape nearest to this size, as 7B or 7e9.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="Length of the run as a time. Without a MODEL: the best one for this time.")
    ] = None,
    gpu_hours: Annotated[float | None, typer.Option(help="... as hours of all devices together.")] = None,
    usd: Annotated[float | None, typer.Option(help="... as money, at the device's price.")] = None,
    flop: Annotated[str | None, typer.Option(help="... as compute: 1e21. Without a MODEL: the one that suits it.")] = None,
    gpus: Annotated[int, typer.Option(help="Devices altogether.")] = 1,
    tp: Annotated[int, typer.Option(help="Tensor parallelism: devices that cut each layer's matrices.")] = 1,
    pp: Annotated[int, typer.Option(help="Pipeline parallelism: stages of layers.")] = 1,
    vp: Annotated[int, typer.Option(help="Turns in which layers are dealt out to stages (interleaved schedule).")] = 1,
    cp: Annotated[int, typer.Option(help="Context parallelism: devices that cut the sequence.")] = 1,
    ep: Annotated[int, typer.Option(help="Expert parallelism: devices that share out the experts.")] = 1,
    imbalance: Annotated[float, typer.Option(help="Tokens of the device whose experts are visited most, over the mean.")] = 1.0,
    sequence_parallel: Annotated[
        bool, typer.Option("--sequence-parallel/--no-sequence-parallel", help="With --tp: cut norms and residuals too.")
    ] = True,
    gpipe: Annotated[bool, typer.Option("--gpipe", help="A pipeline that runs all forwards first, not 1F1B.")] = False,
    shard_group: Annotated[
        int | None, typer.Option(help="Devices that share states (HSDP); the others hold copies. Default: all.")
    ] = None,
    offload: Annotated[str, typer.Option(help="none, optimizer or all: what lives in host memory.")] = "none",
    no_sync: Annotated[
        bool, typer.Option("--no-sync", help="Accumulate whole gradients and reduce once per step (ZeRO-2, 3).")
    ] = False,
    zero: Annotated[
        str, typer.Option(help="ZeRO stage 0, 1, 2 or 3; `all`: the lowest that fits, and the table of all of them.")
    ] = "0",
    reshard: Annotated[
        bool, typer.Option("--reshard/--no-reshard", help="ZeRO-3: give gathered weights back between forward and backward.")
    ] = True,
    framework: Annotated[
        str, typer.Option(help="Whose software: tuitrain, fsdp2-hf, hf-trainer, deepspeed, megatron, litgpt, torchtune, ...")
    ] = "tuitrain",
    method: Annotated[str, typer.Option(help="full, lora or qlora.")] = "full",
    rank: Annotated[int, typer.Option(help="Rank of the adapters.")] = 16,
    targets: Annotated[
        str, typer.Option(help="Matrices with adapters: all-linear, or some of q,k,v,o,gate,up,down,head.")
    ] = "all-linear",
    base: Annotated[
        str | None, typer.Option(help="How frozen weights are kept: 16bit, fp32, int8, nf4, nf4-dq, int4-gptq, int8-gptq.")
    ] = None,
    dropout: Annotated[bool, typer.Option("--dropout", help="Adapters drop inputs out, which keeps copies.")] = False,
    adapter_bits: Annotated[int, typer.Option(help="Bits of an adapter's weight: 32 (peft) or 16.")] = 32,
    stage: Annotated[str, typer.Option(help="pretrain, sft or dpo: preference pairs beside a reference model.")] = "pretrain",
    seq: Annotated[int | None, typer.Option(help="Tokens per sequence.")] = None,
    micro_batch: Annotated[int, typer.Option(help="Sequences per forward pass.")] = 1,
    accum: Annotated[int, typer.Option(help="Forward passes per optimizer step.")] = 1,
    precision: Annotated[str, typer.Option(help="fp32, bf16-mixed, bf16-pure, fp16-mixed or fp8-mixed.")] = "bf16-mixed",
    optimizer: Annotated[str, typer.Option(help="adamw, adamw-8bit, adamw-paged-8bit, adafactor, sgd, muon, ...")] = "adamw",
    recompute: Annotated[str, typer.Option(help="none, selective or full.")] = "none",
    attention: Annotated[str, typer.Option(help="flash, or naive: the scores written out.")] = "flash",
    step_in_backward: Annotated[
        bool, typer.Option("--step-in-backward", help="Each gradient moves its weight as soon as it is made.")
    ] = False,
    loss: Annotated[str | None, typer.Option(help="plain, bf16, chunked or fused. Default: what the framework runs.")] = None,
    tokens: Annotated[
        str | None, typer.Option(help="Length of the run: 20B, 3e9. Default: what the law finds optimal.")
    ] = None,
    law: Annotated[str, typer.Option(help="Scaling law: epoch, chinchilla-3, chinchilla-3-unrounded.")] = "epoch",
    price: Annotated[float | None, typer.Option(help="Rent of one device, USD per hour. Default: its list price.")] = None,
    kwh_price: Annotated[float | None, typer.Option(help="A device of your own: USD per kWh of electricity.")] = None,
    purchase: Annotated[
        float | None, typer.Option(help="... that cost so many USD: the run pays its share of the life.")
    ] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Rent at spot prices: cheaper, and taken back at any time.")] = False,
    embodied: Annotated[bool, typer.Option("--embodied", help="Add the share of what making the devices emitted.")] = False,
    country: Annotated[str, typer.Option(help="Whose electricity: world, us, germany, france, ...")] = "world",
    explain: Annotated[
        str | None, typer.Option(help="Print how one number comes about, for example memory.peak_bytes; `all` lists them.")
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Run the trainer's step on tensors without memory too: traced beside planned.")
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Search layouts of the GPUs at a fixed global batch; plan the fastest.")
    ] = False,
    global_batch: Annotated[
        int | None, typer.Option(help="With --fit: sequences per step. Default: as otherwise typed.")
    ] = None,
    batch_tokens: Annotated[str | None, typer.Option(help="With --fit: the same in tokens: 4194304.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON, in SI base units.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The plan as Markdown.")] = False,
    html: Annotated[bool, typer.Option("--html", help="The plan as one self-contained page: --html > plan.html")] = False,
) -> int:
    """Parameters, FLOP, optimal tokens, memory by phase, time and loss of a training run. Exit 3 when it does not fit."""
    from tuitrain.cli.output import show
    from tuitrain.cli.plan_asked import Asked, refuse_contradictions
    from tuitrain.cli.plan_budget import hours_of, model_of
    from tuitrain.cli.plan_fit import fitted, search_of
    from tuitrain.cli.plan_fits import presets_that_fit
    from tuitrain.cli.plan_hours import best_for_hours
    from tuitrain.cli.plan_print import print_plan
    from tuitrain.cli.plan_request import affordable, request_of
    from tuitrain.errors import EXIT_DOES_NOT_FIT, EXIT_OK
    from tuitrain_planners import plan as make_plan

    asked = Asked(**context.params)
    refuse_contradictions(context, asked)
    refuse_several({"--explain": explain is not None, "--json": as_json, "--markdown": markdown, "--html": html})
    asked, search = search_of(asked, context)
    reasons: tuple[str, ...] = ()
    layouts = None
    if model is not None and model.endswith(".toml"):
        planned = _plan_of_config(Path(model), overrides or [], gpu)
    elif asked.names_no_model and method != "full":
        return presets_that_fit(asked)
    else:
        found_model = model_of(asked) if asked.names_no_model else None
        request = request_of(asked, shape=None if found_model is None else found_model[0])
        if search is not None:
            request, layouts = fitted(request, search)
        time = hours_of(asked, request.hardware)
        if found_model is not None:
            planned, reasons = make_plan(replace(request, tokens=found_model[1])), found_model[2]
        elif time is None:
            planned = make_plan(request)
        elif not asked.names_no_model:
            planned = make_plan(replace(request, tokens=affordable(request, time)))
        else:
            planned, reasons = best_for_hours(request, time)
    found = _simulation(planned, explain=explain, markdown=markdown, html=html) if simulate else None
    print_plan(planned, explain=explain, as_json=as_json, markdown=markdown, html=html, simulation=found, fit=layouts)
    if reasons and not (as_json or markdown or html or explain):
        show("\n".join(("", "why this model", *(f"  {each}" for each in reasons))))
    return EXIT_DOES_NOT_FIT if planned.memory.verdict == "oom" else EXIT_OK


def _plan_of_config(path: Path, overrides: list[str], gpu: str | None) -> Plan:
    from tuitrain.cli.plan_request import find_or_measure
    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.planning import plan_for_run

    resolved = resolve(load_config(path, overrides), this_machine())
    hardware = None if gpu is None else find_or_measure(gpu, str(resolved.config.train.precision))
    return plan_for_run(resolved, hardware=hardware).plan


def _simulation(planned: Plan, *, explain: str | None, markdown: bool, html: bool) -> dict[str, Any]:
    from tuitrain.cli.plan_simulate import simulate
    from tuitrain.errors import UsageError

    if explain is not None or markdown or html:
        raise UsageError("--simulate prints a table, or JSON with --json", "leave --explain, --markdown and --html out")
    return simulate(planned)
