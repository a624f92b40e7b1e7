"""From the options of `tuitrain plan` to the planner's question."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tuitrain.cli.plan_asked import METHODS, STAGES, Asked
from tuitrain.cli.plan_budget import tokens_of
from tuitrain.cli.plan_input import MOST_DEPTH, MOST_PARAMETERS, count_within, shape_of_file

if TYPE_CHECKING:
    from tuitrain_planners import Adapter, Economy, Hardware, Host, Mesh, ModelShape, PlanRequest


def request_of(asked: Asked, shape: ModelShape | None = None) -> PlanRequest:
    """The question, its ZeRO stage chosen when all were asked for."""
    return request_for(asked, shape or shape_of(asked), hardware_of(asked))


def request_for(asked: Asked, shape: ModelShape, hardware: Hardware) -> PlanRequest:
    """The question about one model on one device."""
    from tuitrain.runs.compiler import unavailable
    from tuitrain_planners import PlanRequest, framework, loss_law

    adapter = adapter_of(asked)
    request = PlanRequest(
        shape=shape,
        hardware=hardware,
        seq_len=min(shape.max_seq_len, 2048) if asked.seq is None else asked.seq,
        micro_batch=asked.micro_batch,
        grad_accum=asked.accum,
        precision=asked.precision,
        optimizer=asked.optimizer,
        recompute=asked.recompute,
        attention=asked.attention,
        step_in_backward=asked.step_in_backward,
        loss_head=framework(asked.framework).head(adapted=adapter is not None) if asked.loss is None else asked.loss,
        mesh=_mesh(asked),
        shard_group=asked.shard_group,
        offload=asked.offload,
        no_sync=asked.no_sync,
        expert_imbalance=asked.imbalance,
        adapter=adapter,
        reference=_reference(asked),
        framework=asked.framework,
        reshard=asked.reshard,
        tokens=tokens_of(asked, shape),
        law=loss_law(asked.law),
        compiled=hardware.compile_gain is not None and unavailable(hardware.kind) is None,
        economy=_economy(asked),
        host=_host(asked.gpu),
    )
    return replace(request, zero=_stage(request, asked.zero))


def adapter_of(asked: Asked) -> Adapter | None:
    """LoRA keeps the model in 16 bits, QLoRA in NF4 with double quantisation, unless told otherwise."""
    from tuitrain.errors import UsageError
    from tuitrain_planners import ALL_LINEAR, PlanError
    from tuitrain_planners import Adapter as NewAdapter

    if asked.method not in METHODS:
        raise UsageError(f"--method {asked.method}", f"one of {', '.join(METHODS)}")
    if asked.method == "full":
        return None
    if asked.adapter_bits not in (16, 32):
        raise PlanError(f"--adapter-bits {asked.adapter_bits}", "16 or 32")
    targets = ALL_LINEAR if asked.targets == "all-linear" else tuple(filter(None, asked.targets.replace(" ", "").split(",")))
    base = asked.base or ("16bit" if asked.method == "lora" else "nf4-dq")
    if asked.method == "qlora" and base in ("16bit", "fp32"):
        raise UsageError(f"--method qlora with a base in {base}", "--method lora, or a quantised base: nf4-dq, nf4, int8")
    return NewAdapter(rank=asked.rank, targets=targets, base=base, dropout=asked.dropout, weight_bytes=asked.adapter_bits // 8)


def _reference(asked: Asked) -> str:
    from tuitrain.errors import UsageError

    if asked.stage not in STAGES:
        raise UsageError(f"--stage {asked.stage}", f"one of {', '.join(STAGES)}")
    if asked.stage != "dpo":
        return "none"
    return "copy" if asked.method == "full" else "adapter-off"


def _mesh(asked: Asked) -> Mesh:
    from tuitrain.errors import UsageError
    from tuitrain_planners import Mesh as NewMesh

    cut = asked.tp * asked.pp * asked.cp
    if asked.gpus % cut:
        near = sorted({max(cut, asked.gpus // cut * cut), (asked.gpus // cut + 1) * cut})
        raise UsageError(
            f"--gpus {asked.gpus} is not a multiple of tp {asked.tp} x pp {asked.pp} x cp {asked.cp} = {cut}",
            f"--gpus {' or '.join(map(str, near))}",
        )
    schedule = "gpipe" if asked.gpipe else "interleaved" if asked.vp > 1 else "1f1b"
    return NewMesh(
        dp=asked.gpus // cut, tp=asked.tp, pp=asked.pp, vp=asked.vp, cp=asked.cp, ep=asked.ep,
        sequence_parallel=asked.sequence_parallel, schedule=schedule,
    )  # fmt: skip


def _economy(asked: Asked) -> Economy:
    from tuitrain_planners import EMBODIED_KG_CO2E, grid
    from tuitrain_planners import Economy as NewEconomy

    return NewEconomy(
        grid=grid(asked.country), price_usd_per_gpu_hour=asked.price, electricity_usd_per_kwh=asked.kwh_price,
        purchase_usd=asked.purchase, spot=asked.spot, embodied_kg_co2e=EMBODIED_KG_CO2E if asked.embodied else None,
    )  # fmt: skip


def _host(gpu: str | None) -> Host:
    """The RAM around the devices is known on the machine at hand only."""
    from tuitrain.runs.machine import this_machine
    from tuitrain_planners import Host as NewHost

    return NewHost() if gpu not in (None, "this") else NewHost(memory_bytes=this_machine().memory_bytes)


def shape_of(asked: Asked) -> ModelShape:
    """A model by whichever of its names was given."""
    import re

    from tuitrain.runs.home import presets_dir
    from tuitrain_planners import by_depth, by_parameters, find_shape

    if asked.params is not None:
        return by_parameters(count_within("--params", asked.params, MOST_PARAMETERS))
    if asked.model is None:
        return by_depth(1, 32_768, "llama")  # what --hours replaces
    if dial := re.fullmatch(r"d([0-9]+)", asked.model):
        return by_depth(int(count_within("depth", dial[1], MOST_DEPTH)), 32_768)
    return shape_of_file(asked.model) or find_shape(presets_dir() / "models", asked.model)


def affordable(request: PlanRequest, hours: float) -> float:
    """Tokens of the time. PlanError when it is not enough for one step."""
    from tuitrain_planners import PlanError, tokens_for

    tokens, per_step = tokens_for(request, hours * 3600).value, request.tokens_per_step().value
    if tokens < per_step:
        raise PlanError(
            f"--hours {hours:g} are {tokens:.0f} tokens here, and one step is {per_step:.0f}",
            "a longer time, or a smaller batch",
            kind="fit",
        )
    return tokens


def _stage(request: PlanRequest, zero: str) -> int:
    """The stage asked for; of all, the lowest that fits, or the last when none does."""
    from tuitrain.errors import UsageError
    from tuitrain_planners import by_stage

    if zero == "all":
        return next((stage for stage, each in enumerate(by_stage(request)) if each.verdict == "fits"), 3)
    if zero not in ("0", "1", "2", "3"):
        raise UsageError(f"--zero {zero}", "0, 1, 2, 3 or all")
    return int(zero)


def hardware_of(asked: Asked) -> Hardware:
    """The device asked for, or this machine, measured; with another amount of memory when one is given."""
    from tuitrain_planners import parse_bytes

    found = find_or_measure(asked.gpu, asked.precision)
    return found if asked.memory is None else replace(found, memory_bytes=parse_bytes(asked.memory))


def find_or_measure(gpu: str | None, precision: str) -> Hardware:
    """A hardware preset; None or `this`: the machine at hand."""
    from tuitrain.runs.home import presets_dir
    from tuitrain_planners import find_hardware

    if gpu is not None and gpu != "this":
        return find_hardware(presets_dir() / "hardware", gpu)
    from tuitrain.runs.calibration import measured_hardware
    from tuitrain.runs.machine import this_machine

    machine = this_machine()
    device = "cuda" if machine.gpus else "cpu"
    return measured_hardware(machine, device=device, precision=precision, threads=machine.physical_cores)
