"""What stands in the form -> a question to the planner. Every error says which field it is about.

An error that no single field makes (a sequence too long for the model, heads that do not divide) has an empty `field`; it
belongs to whatever was changed last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tuitrain.tui.plan.fields import AUTO, LIST, OPTIMAL, PRESET, Form
from tuitrain_planners import (
    Adapter,
    Economy,
    Hardware,
    Mesh,
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

DIAL_VOCAB: Final = 32_768
"""Vocabulary of a model given by its depth; `tuitrain plan d12` takes the same."""
THIS: Final = "this"
LARGEST, LARGEST_MODEL = 1e9, 1e14
"""Of a whole number and of a model's parameters: far beyond anything built, near enough that a slip of the finger is caught."""
_BINARY: Final = {"ki": 2**10, "mi": 2**20, "gi": 2**30}


class FieldError(Exception):
    """A field cannot be read: which one, what is wrong, what would be right."""

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.field, self.message, self.hint = field, message, hint


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where names are looked up."""

    presets: Path
    measured: Callable[[str], Hardware]
    """This machine at a precision, as measured before. PlanError when it never was; measures nothing."""
    compiles: Callable[[Hardware], bool] = lambda hardware: False
    """Whether a run on this hardware would be compiled."""

    def names(self, key: str) -> list[str]:
        """What a name field offers."""
        if key == "model":
            return preset_names(self.presets / "models")
        return [THIS, *preset_names(self.presets / "hardware")]


def read(form: Form, sources: Sources) -> PlanRequest:
    """The question. FieldError for the first field that cannot be read."""
    with _about("model"):
        shape = read_model(form["model"].strip(), sources)
    hardware = _hardware(form, sources)
    with _about("devices"):
        mesh = Mesh(dp=read_whole(form["devices"]))
    sizes = {}
    for key in ("seq", "micro_batch", "accumulate"):
        with _about(key):
            sizes[key] = read_whole(form[key])
    with _about("price"):
        economy = Economy(grid=grid(form["grid"]), price_usd_per_gpu_hour=_price(form["price"].strip()))
    name = "tuitrain"
    with _about(""):
        request = PlanRequest(
            shape=shape,
            hardware=hardware,
            seq_len=sizes["seq"],
            micro_batch=sizes["micro_batch"],
            grad_accum=sizes["accumulate"],
            mesh=mesh,
            zero=int(form["zero"]),
            adapter=read_adapter(form["method"]),
            framework=name,
            precision=form["precision"],
            optimizer=form["optimizer"],
            recompute=form["recompute"],
            loss_head=framework(name).loss_head if form["loss"] == AUTO else form["loss"],
            economy=economy,
            compiled=sources.compiles(hardware),
        )
    with _about("length"):
        return replace(request, tokens=read_length(form["length"].strip(), request))


@contextmanager
def _about(field: str) -> Iterator[None]:
    try:
        yield
    except PlanError as error:
        raise FieldError(field, error.message, error.hint) from error


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


def read_adapter(method: str) -> Adapter | None:
    """full, lora, qlora."""
    return {"full": None, "lora": Adapter(), "qlora": Adapter(base="nf4-dq")}[method]


def _hardware(form: Form, sources: Sources) -> Hardware:
    with _about("hardware"):
        name = form["hardware"].strip()
        found = sources.measured(form["precision"]) if name == THIS else find_hardware(sources.presets / "hardware", name)
    with _about("memory"):
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


def read_whole(text: str) -> int:
    """A count of at least 1: 8, 1_000, 8k (8,000), 8Ki (8,192). What is not whole is refused, never rounded."""
    text = text.strip()
    if (match := re.fullmatch(r"(\d+)\s*([KkMmGg]i)", text)) is not None:
        return int(match[1]) * _BINARY[match[2].lower()]
    value = parse_count(text)
    if value > LARGEST:
        raise PlanError(f"{text[:24]!r} is more than {LARGEST:.0e}", "such as 8, 4096, 8k (8,000) or 8Ki (8,192)")
    if value != int(value) or value < 1:
        raise PlanError(f"{text!r} is no whole number of at least 1", "such as 8, 4096, 8k (8,000) or 8Ki (8,192)")
    return int(value)


def read_length(text: str, request: PlanRequest) -> float | None:
    """Tokens of a run: given, or what a time, money, device hours or FLOP buy. None: as many as the law finds optimal."""
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
    given = request.economy.price_usd_per_gpu_hour
    price = request.hardware.price_usd_per_hour if given is None else given
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
