"""What stands in the form -> a question to the planner. Every error says which field it is about.

An error that no single field makes (a sequence too long for the model, heads that do not divide) has an empty `field`; it
belongs to whatever was changed last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tuitrain.tui.plan.fields import ALL_TARGETS, AUTO, LIST, OPTIMAL, PRESET, Form
from tuitrain.tui.plan.layout import read_mesh
from tuitrain.tui.plan.whole import about, read_whole
from tuitrain_planners import (
    ALL_LINEAR,
    Adapter,
    Economy,
    Hardware,
    Host,
    ModelShape,
    PlanError,
    PlanRequest,
    by_depth,
    by_parameters,
    find_hardware,
    find_shape,
    flop_per_token,
    framework,
    grid,
    parse_bytes,
    parse_count,
    parse_duration,
    parse_flop,
    preset_names,
    shape_from_hf,
    tokens_for,
)
from tuitrain_planners.hardware import price_band
from tuitrain_planners.request import DEFAULT_HOST

DIAL_VOCAB: Final = 32_768
"""Vocabulary of a model given by its depth; `tuitrain plan d12` takes the same."""
THIS: Final = "this"
LARGEST_MODEL: Final = 1e14
"""Parameters: far beyond anything built, near enough that a slip of the finger is caught."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where names are looked up."""

    presets: Path
    measured: Callable[[str], Hardware]
    """This machine at a precision, as measured before. PlanError when it never was; measures nothing."""
    compiles: Callable[[Hardware], bool] = lambda hardware: False
    """Whether a run on this hardware would be compiled."""
    host_bytes: Callable[[], float | None] = lambda: None
    """RAM of this machine; None while it is not known."""

    def names(self, key: str) -> list[str]:
        """What a name field offers."""
        if key == "model":
            return preset_names(self.presets / "models")
        return [THIS, *preset_names(self.presets / "hardware")]


def read(form: Form, sources: Sources) -> PlanRequest:
    """The question. FieldError for the first field that cannot be read."""
    with about("model"):
        shape = read_model(form["model"].strip(), sources)
    hardware = _hardware(form, sources)
    sizes = {}
    for key in ("seq", "micro_batch", "accumulate"):
        with about(key):
            sizes[key] = read_whole(form[key])
    mesh = read_mesh(form, shape, sizes["seq"])
    adapter = read_adapter(form)
    with about("price"):
        economy = Economy(grid=grid(form["grid"]), price_usd_per_gpu_hour=_price(form["price"].strip()))
    name = form["framework"]
    with about(""):
        request = PlanRequest(
            shape=shape,
            hardware=hardware,
            seq_len=sizes["seq"],
            micro_batch=sizes["micro_batch"],
            grad_accum=sizes["accumulate"],
            mesh=mesh,
            zero=int(form["zero"]),
            offload=form["offload"],
            adapter=adapter,
            framework=name,
            precision=form["precision"],
            optimizer=form["optimizer"],
            recompute=form["recompute"],
            loss_head=framework(name).head(adapted=adapter is not None) if form["loss"] == AUTO else form["loss"],
            economy=economy,
            compiled=sources.compiles(hardware),
            host=Host(memory_bytes=sources.host_bytes()) if form["hardware"].strip() == THIS else DEFAULT_HOST,
        )
    with about("length"):
        return replace(request, tokens=read_length(form["length"].strip(), request))


def read_model(text: str, sources: Sources) -> ModelShape:
    """A preset, a depth, a Hugging Face config, or a size."""
    if dial := re.fullmatch(r"d(\d{1,4})", text):
        return by_depth(int(dial[1]), DIAL_VOCAB)
    if text.endswith(".json") or ("/" in text and (Path(text).expanduser() / "config.json").is_file()):
        return shape_from_hf(Path(text).expanduser())
    if re.fullmatch(r"[\d.]+(e\d+)?\s*[kKMBGT]?", text):
        if (count := parse_count(text)) > LARGEST_MODEL:
            raise PlanError(f"{text!r} parameters", f"up to {LARGEST_MODEL:.0e}")
        return by_parameters(count)
    return find_shape(sources.presets / "models", text)


def read_adapter(form: Form) -> Adapter | None:
    """None where all weights are trained. LoRA keeps the model in 16 bits, QLoRA in NF4 with double quantisation."""
    if form["method"] == "full":
        return None
    base = {"lora": "16bit", "qlora": "nf4-dq"}[form["method"]]
    with about("rank"):
        rank = read_whole(form["rank"])
    with about("targets"):
        text = "".join(form["targets"].split())
        targets = ALL_LINEAR if text in ("", ALL_TARGETS) else tuple(filter(None, text.split(",")))
        return Adapter(rank=rank, targets=targets, base=base)


def _hardware(form: Form, sources: Sources) -> Hardware:
    with about("hardware"):
        name = form["hardware"].strip()
        found = sources.measured(form["precision"]) if name == THIS else find_hardware(sources.presets / "hardware", name)
    with about("memory"):
        text = form["memory"].strip()
        return found if text in ("", PRESET) else replace(found, memory_bytes=_capacity(text))


def _capacity(text: str) -> int:
    size = parse_bytes(text)
    if size < 2**20:
        raise PlanError(f"{text!r} is {size} bytes of memory", "a size with its unit: 80GB, 24GiB")
    return size


def _price(text: str) -> float | None:
    if text in ("", LIST):
        return None
    try:
        return float(text.removeprefix("$"))
    except ValueError:
        raise PlanError(f"cannot read {text!r} as a price", "USD per device and hour, as 2.50; or list") from None


def read_length(text: str, request: PlanRequest) -> float | None:
    """Tokens of a run: given, or what a time, money, device hours or FLOP buy. None: as many as the law finds optimal; with
    adapters, of which laws say nothing, the planner's default.
    """
    if text in ("", OPTIMAL):
        return None
    squeezed = text.replace(" ", "")
    if squeezed.startswith("$"):
        return _for_money(squeezed[1:], request)
    if squeezed.lower().endswith(("flop", "flops")):
        flop = parse_flop(text)
        return _bought(flop / flop_per_token(request.shape, request.seq_len, request.convention).value, request, text)
    if (hours := re.fullmatch(r"(.+?)(?:gpu|device)-?h(?:ours?)?", squeezed, re.IGNORECASE)) is not None:
        seconds = parse_duration(hours[1] + "h") / request.mesh.devices
        return _for_time(seconds, request, text)
    try:
        tokens = parse_count(squeezed)
    except PlanError:
        return _for_time(_duration(text), request, text)
    if not tokens > 0:
        raise PlanError(f"{text!r} tokens", "a positive number, such as 20B")
    return tokens


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except PlanError:
        hint = "tokens 20B, time 12h, money $500, device hours 300 gpu-h, compute 1e21 FLOP, or optimal"
        raise PlanError(f"cannot read {text!r} as a length", hint) from None


def _for_money(text: str, request: PlanRequest) -> float:
    price, listed = request.economy.price_usd_per_gpu_hour, request.hardware.price_usd_per_hour
    if price is None and listed is not None:
        price = price_band(listed)[1]
    if not price:
        raise PlanError(
            f"no price known for {request.hardware.name}", "give one in the field price, in USD per device and hour"
        )
    if not re.fullmatch(r"[\d.,_]+(e\d+)?[kKM]?", text):
        raise PlanError(f"cannot read '${text}' as money", "US dollars, such as $500 or $2k")
    seconds = parse_count(text) / price / request.mesh.devices * 3600
    return _for_time(seconds, request, f"${text}")


def _for_time(seconds: float, request: PlanRequest, text: str) -> float:
    if not seconds > 0:
        raise PlanError(f"{text!r} of time", "a positive time, such as 12h")
    return _bought(tokens_for(request, seconds).value, request, text)


def _bought(tokens: float, request: PlanRequest, text: str) -> float:
    """At least one optimizer step, or it is said."""
    step = request.tokens_per_step().value
    if tokens < step:
        raise PlanError(
            f"{text} buys {tokens:,.0f} tokens, less than one step of {step:,.0f}", "a larger budget, or a smaller batch"
        )
    return tokens
