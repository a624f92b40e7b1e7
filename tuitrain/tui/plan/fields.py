"""The fields of the Plan form: their names, what may stand in them, and which number each of them moves most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tuitrain_planners import ALL_LINEAR, FRAMEWORKS, GRIDS, OPTIMIZERS, RECIPES, Adapter
from tuitrain_planners.memory import LOSS_HEADS
from tuitrain_planners.request import OFFLOADS

Kind = Literal["choice", "name", "whole", "degree", "text", "fold"]
"""choice: one of a few; name: a preset, found by typing; whole: a number halved and doubled; degree: of parallelism, one that
the devices allow; text: read as written; fold: no field, the line that shows the folded ones."""
Needs = Literal["", "devices", "experts", "adapter"]
"""What there must be for a field to mean anything: several devices, a model with experts on them, adapters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One row of the form."""

    key: str
    label: str
    kind: Kind
    start: str
    """What stands there at first."""
    figure: str
    """The number `i` explains when the cursor is here."""
    tip: str
    """What may be typed."""
    choices: tuple[str, ...] = ()
    folded: bool = False
    """Shown when the fold is open, or when something else than at first stands there."""
    needs: Needs = ""


def _f(key: str, label: str, kind: Kind, start: str, figure: str, tip: str, choices: tuple[str, ...] = ()) -> Field:
    return Field(key=key, label=label, kind=kind, start=start, figure=figure, tip=tip, choices=choices)


def _more(
    key: str, label: str, kind: Kind, start: str, figure: str, tip: str, choices: tuple[str, ...] = (), needs: Needs = ""
) -> Field:
    return Field(
        key=key, label=label, kind=kind, start=start, figure=figure, tip=tip, choices=choices, folded=True, needs=needs
    )


_MEMORY: Final = "memory.device_bytes"
_STEP: Final = "time.step_s"
METHODS: Final = ("full", "lora", "qlora")
_STAGES: Final = ("0", "1", "2", "3")
_RECOMPUTE: Final = ("none", "selective", "full")
OPTIMAL, PRESET, LIST, AUTO = "optimal", "preset", "list", "auto"
"""Words that stand for: as many tokens as the law finds best, the device's own memory, its list price, the framework's own."""
_HEADS: Final = (AUTO, *LOSS_HEADS)
ALL_TARGETS: Final = "all-linear"
MORE: Final = "more"
"""Key of the line that folded fields are behind."""

FIELDS: Final = (
    _f("model", "model", "name", "llama-3-8b", "model.parameters", "a preset, a depth (d12), a size (7B), or a config.json"),
    _f("method", "method", "choice", "full", _MEMORY, "all weights trained, or an adapter beside frozen ones", METHODS),
    _f("hardware", "hardware", "name", "h100-80gb", "time.tokens_per_s", "a preset, or `this` machine once it was measured"),
    _f("devices", "devices", "whole", "8", "cost.usd", "how many of them, each on its part of the batch"),
    _f("memory", "memory", "text", PRESET, _MEMORY, "of one device: 80GB (10^9), 80GiB (2^30), or preset"),
    _f("length", "length", "text", OPTIMAL, "tokens.planned", "20B tokens, 12h, $500, 300 gpu-h, 1e21 FLOP, or optimal"),
    _f("seq", "sequence", "whole", "8192", _MEMORY, "tokens per sequence: 8192, 8k (8,000), 8Ki (8,192)"),
    _f("micro_batch", "micro-batch", "whole", "1", _MEMORY, "sequences per forward pass and device"),
    _f("accumulate", "accumulate", "whole", "1", _STEP, "forward passes per optimizer step"),
    _f("zero", "ZeRO", "choice", "3", _MEMORY, "shards 1 optimizer, 2 + gradients, 3 + weights", _STAGES),
    _f("precision", "precision", "choice", "bf16-mixed", _MEMORY, "of weights, gradients and products", tuple(RECIPES)),
    _f("recompute", "recompute", "choice", "none", _MEMORY, "activations thrown away and made again", _RECOMPUTE),
    _f("optimizer", "optimizer", "choice", "adamw", _MEMORY, "how weights move", tuple(OPTIMIZERS)),
    _f("price", "price", "text", LIST, "cost.usd", "USD per device and hour: 2.50; list: the preset's"),
    _f("grid", "electricity", "choice", "world", "energy.kg_co2e", "whose electricity", tuple(sorted(GRIDS))),
    _f(MORE, "more", "fold", "", _MEMORY, "software, parallelism, offloading, adapters; enter or a shows and hides them"),
    _more("rank", "rank", "whole", str(Adapter().rank), _MEMORY, "of the adapters: 8, 16, 64", needs="adapter"),
    _more("targets", "adapters on", "text", ALL_TARGETS, _MEMORY, f"{ALL_TARGETS}, or some of {','.join(ALL_LINEAR)},head",
          needs="adapter"),
    _more("framework", "framework", "choice", "tuitrain", _MEMORY, "whose software lays the step out", tuple(FRAMEWORKS)),
    _more("loss", "loss head", "choice", AUTO, _MEMORY, "auto: the framework's own; chunked never holds all logits", _HEADS),
    _more("offload", "offload", "choice", "none", _MEMORY, "states in the host's RAM; its time is not planned", OFFLOADS),
    _more("tp", "tensor tp", "degree", "1", _STEP, "devices that cut each layer's matrices", needs="devices"),
    _more("pp", "pipeline pp", "degree", "1", _STEP, "stages of layers, one after the other", needs="devices"),
    _more("cp", "context cp", "degree", "1", _STEP, "devices that cut the sequence", needs="devices"),
    _more("ep", "experts ep", "degree", "1", _STEP, "devices that share out the experts", needs="experts"),
)  # fmt: skip
BY_KEY: Final = {field.key: field for field in FIELDS}


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in every field. A value: editing gives another one."""

    texts: Mapping[str, str]

    def __getitem__(self, key: str) -> str:
        return self.texts[key]

    def put(self, **changes: str) -> Form:
        """The form with other texts in some fields."""
        return Form({**self.texts, **changes})

    def turned(self, key: str, direction: int) -> Form:
        """The next (+1) or previous choice; a number doubled or halved. Texts that are neither stay as they are."""
        field, text = BY_KEY[key], self.texts[key]
        if field.kind == "choice":
            at = field.choices.index(text) if text in field.choices else 0
            return self.put(**{key: field.choices[(at + direction) % len(field.choices)]})
        if field.kind == "whole" and text.isdigit() and int(text) > 0:
            number = int(text)
            halved = max(1, number // 2) if number % 2 == 0 else max(1, (number + 1) // 2)
            return self.put(**{key: str(number * 2 if direction > 0 else halved)})
        return self


def first_form(**changes: str) -> Form:
    """The form as it opens: 8 billion parameters on a node of eight H100, as published tables have it."""
    return Form({field.key: field.start for field in FIELDS}).put(**changes)
