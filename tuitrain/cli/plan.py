"""`tuitrain plan MODEL|CONFIG`: every number of a training run before it starts. Needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuitrain.cli.default_command import DEFAULT_COMMAND, DefaultCommand
from tuitrain.cli.plan_validate import validate

if TYPE_CHECKING:
    from tuitrain_planners import Hardware, Host, ModelShape, Plan, PlanRequest


group = typer.Typer(cls=DefaultCommand, help="Every number of a training run before it starts.")


def register(app: typer.Typer) -> None:
    """Add `plan MODEL`, and the commands beside it."""
    group.command(DEFAULT_COMMAND, hidden=True)(plan)
    group.command("validate")(validate)
    app.add_typer(group, name="plan")


OF_A_CONFIG = {"model", "overrides", "gpu", "explain", "simulate", "as_json", "markdown", "html"}
"""What `plan CONFIG.toml` reads; everything else stands in the file."""


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
    params: Annotated[
        str | None, typer.Option(help="Instead of MODEL: the usual Llama-like shape nearest to this size, as 7B or 7e9.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="Length of the run as a time. Without a MODEL: the best one for this time.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="Devices, each working on its part of the batch.")] = 1,
    zero: Annotated[
        str, typer.Option(help="ZeRO stage 0, 1, 2 or 3; `all`: the lowest that fits, and the table of all of them.")
    ] = "0",
    reshard: Annotated[
        bool, typer.Option("--reshard/--no-reshard", help="ZeRO-3: give gathered weights back between forward and backward.")
    ] = True,
    framework: Annotated[
        str, typer.Option(help="Whose software: tuitrain, fsdp2-hf, fsdp2-native, hf-trainer, ddp-native, deepspeed-paper.")
    ] = "tuitrain",
    seq: Annotated[int | None, typer.Option(help="Tokens per sequence.")] = None,
    micro_batch: Annotated[int, typer.Option(help="Sequences per forward pass.")] = 1,
    accum: Annotated[int, typer.Option(help="Forward passes per optimizer step.")] = 1,
    precision: Annotated[str, typer.Option(help="fp32, bf16-mixed, bf16-pure or fp16-mixed.")] = "bf16-mixed",
    optimizer: Annotated[str, typer.Option(help="adamw or muon.")] = "adamw",
    recompute: Annotated[str, typer.Option(help="none, selective or full.")] = "none",
    loss: Annotated[str | None, typer.Option(help="plain or chunked. Default: what the framework runs.")] = None,
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
        int | None, typer.Option(min=1, help="With --fit: sequences per step. Default: micro-batch x accum x gpus.")
    ] = None,
    batch_tokens: Annotated[str | None, typer.Option(help="With --fit: the same in tokens: 4M, 2097152.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON, in SI base units.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The plan as Markdown.")] = False,
    html: Annotated[bool, typer.Option("--html", help="The plan as one self-contained page: --html > plan.html")] = False,
) -> int:
    """Parameters, FLOP, optimal tokens, memory by phase, time and loss of a training run. Exit 3 when it does not fit."""
    from tuitrain.cli.output import show
    from tuitrain.cli.plan_fit import batch_of, bounds_of, first, fitted
    from tuitrain.cli.plan_hours import best_for_hours
    from tuitrain.cli.plan_print import print_plan
    from tuitrain.errors import EXIT_DOES_NOT_FIT, EXIT_OK
    from tuitrain_planners import EMBODIED_KG_CO2E, Economy, grid
    from tuitrain_planners import plan as make_plan

    _refuse_contradictions(context, model, overrides, params=params, hours=hours, tokens=tokens, zero=zero)
    batch = batch_of(_given(context), fit=fit, model=model or params, sequences=global_batch, tokens=batch_tokens)
    reasons: tuple[str, ...] = ()
    layouts = None
    if model is not None and model.endswith(".toml"):
        planned = _plan_of_config(Path(model), overrides or [], gpu)
    else:
        request = _request(
            _shape(model, params), gpu, seq=seq, micro_batch=micro_batch, accum=accum, precision=first(precision, fit),
            optimizer=optimizer, recompute=recompute, loss=loss and first(loss, fit), tokens=tokens, law=law, gpus=gpus,
            framework=framework, reshard=reshard,
        )  # fmt: skip
        economy = Economy(
            grid=grid(country), price_usd_per_gpu_hour=price, electricity_usd_per_kwh=kwh_price, purchase_usd=purchase,
            spot=spot, embodied_kg_co2e=EMBODIED_KG_CO2E if embodied else None,
        )  # fmt: skip
        request = replace(request, zero=_stage(request, zero), economy=economy)
        if fit:
            request, layouts = fitted(request, batch, bounds_of(_given(context), zero, recompute, precision, loss))
        if hours is None:
            planned = make_plan(request)
        elif model is not None or params is not None:
            planned = make_plan(replace(request, tokens=_affordable(request, hours)))
        else:
            planned, reasons = best_for_hours(request, hours)
    found = _simulation(planned, explain=explain, markdown=markdown, html=html) if simulate else None
    print_plan(planned, explain=explain, as_json=as_json, markdown=markdown, html=html, simulation=found, fit=layouts)
    if reasons and not (as_json or markdown or html or explain):
        show("\n".join(("", "why this model", *(f"  {each}" for each in reasons))))
    return EXIT_DOES_NOT_FIT if planned.memory.verdict == "oom" else EXIT_OK


def _refuse_contradictions(
    context: typer.Context, model: str | None, overrides: list[str] | None, *,
    params: str | None, hours: float | None, tokens: str | None, zero: str,
) -> None:  # fmt: skip
    """What was typed and would do nothing, or twice the same, is an error."""
    from tuitrain.errors import UsageError

    if sum(each is not None for each in (model, params)) > 1 or (model is None and params is None and hours is None):
        raise UsageError(
            "plan needs a MODEL, --params SIZE, or --hours to find one", "tuitrain plan llama-3-8b --gpu h100-80gb"
        )
    if hours is not None and not hours > 0:
        raise UsageError(f"--hours {hours:g}", "a positive time")
    if zero == "all" and model is None and params is None:
        raise UsageError(
            "--zero all chooses a stage for a MODEL, and there is none", "--zero 3 finds what ZeRO-3 makes room for"
        )
    if hours is not None and tokens is not None:
        raise UsageError("both --hours and --tokens set the length", "give one of them")
    of_config = model is not None and model.endswith(".toml")
    if of_config and (extra := _given(context) - OF_A_CONFIG):
        options = ", ".join(f"--{each.replace('_', '-')}" for each in sorted(extra))
        raise UsageError(f"{options} and a CONFIG.toml", "set it in the file, or as SECTION.KEY=VALUE")
    if overrides and not of_config:
        raise UsageError(
            f"overrides {' '.join(overrides)} without a CONFIG.toml", "options set what a preset's plan depends on"
        )


def _given(context: typer.Context) -> set[str]:
    """Names of the parameters that were typed, not left at their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _request(
    shape: ModelShape, gpu: str | None, *, seq: int | None, micro_batch: int, accum: int, precision: str, optimizer: str,
    recompute: str, loss: str | None, tokens: str | None, law: str, gpus: int, framework: str, reshard: bool,
) -> PlanRequest:  # fmt: skip
    from tuitrain.runs.compiler import unavailable
    from tuitrain_planners import Mesh, PlanRequest, loss_law, parse_count
    from tuitrain_planners import framework as find_framework

    hardware = _hardware(gpu, precision)
    return PlanRequest(
        shape=shape,
        hardware=hardware,
        seq_len=seq or min(shape.max_seq_len, 2048),
        micro_batch=micro_batch,
        grad_accum=accum,
        precision=precision,
        optimizer=optimizer,
        recompute=recompute,
        loss_head=loss or find_framework(framework).head(adapted=False),
        mesh=Mesh(dp=gpus),
        framework=framework,
        reshard=reshard,
        tokens=parse_count(tokens) if tokens else None,
        law=loss_law(law),
        compiled=hardware.compile_gain is not None and unavailable(hardware.kind) is None,
        host=_host(gpu),
    )


def _host(gpu: str | None) -> Host:
    """The RAM around the devices is known on the machine at hand only."""
    from tuitrain.runs.machine import this_machine
    from tuitrain_planners import Host

    return Host() if gpu not in (None, "this") else Host(memory_bytes=this_machine().memory_bytes)


def _shape(model: str | None, params: str | None) -> ModelShape:
    """A model by whichever of its names was given."""
    import re

    from tuitrain.runs.home import presets_dir
    from tuitrain_planners import by_depth, by_parameters, find_shape, parse_count, shape_from_hf

    if params is not None:
        return by_parameters(parse_count(params))
    if model is None:
        return by_depth(1, 32_768, "llama")  # what --hours replaces
    if dial := re.fullmatch(r"d(\d+)", model):
        return by_depth(int(dial[1]), 32_768)
    path = Path(model).expanduser()
    if model.endswith(".json") or (path.is_dir() and (path / "config.json").exists()):
        return shape_from_hf(path)
    return find_shape(presets_dir() / "models", model)


def _affordable(request: PlanRequest, hours: float) -> float:
    """Tokens of the time, at least one step."""
    from tuitrain_planners import tokens_for

    return max(tokens_for(request, hours * 3600).value, request.tokens_per_step().value)


def _stage(request: PlanRequest, zero: str) -> int:
    """The stage asked for; of all, the lowest that fits, or the last when none does."""
    from tuitrain.errors import UsageError
    from tuitrain_planners import by_stage

    if zero == "all":
        return next((stage for stage, each in enumerate(by_stage(request)) if each.verdict == "fits"), 3)
    if zero not in ("0", "1", "2", "3"):
        raise UsageError(f"--zero {zero}", "0, 1, 2, 3 or all")
    return int(zero)


def _hardware(gpu: str | None, precision: str) -> Hardware:
    from tuitrain.runs.home import presets_dir
    from tuitrain_planners import find_hardware

    if gpu is not None and gpu != "this":
        return find_hardware(presets_dir() / "hardware", gpu)
    from tuitrain.runs.calibration import measured_hardware
    from tuitrain.runs.machine import this_machine

    machine = this_machine()
    device = "cuda" if machine.gpus else "cpu"
    return measured_hardware(machine, device=device, precision=precision, threads=machine.physical_cores)


def _plan_of_config(path: Path, overrides: list[str], gpu: str | None) -> Plan:
    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.planning import plan_for_run

    resolved = resolve(load_config(path, overrides), this_machine())
    hardware = None if gpu is None else _hardware(gpu, str(resolved.config.train.precision))
    return plan_for_run(resolved, hardware=hardware).plan


def _simulation(planned: Plan, *, explain: str | None, markdown: bool, html: bool) -> dict[str, Any]:
    from tuitrain.cli.plan_simulate import simulate
    from tuitrain.errors import UsageError

    if explain is not None or markdown or html:
        raise UsageError("--simulate prints a table, or JSON with --json", "leave --explain, --markdown and --html out")
    return simulate(planned)
