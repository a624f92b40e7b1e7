"""Memory rows: a row becomes a `PlanRequest` and the figure it measured; the memory model answers.

Figures, because tools show different ones: `allocated` (torch.cuda.max_memory_allocated), `reserved` (max_memory_reserved),
`device` (nvidia-smi, NVML, and tables that do not say), `states` (weights, gradients and optimizer states alone: formulas),
`loaded` (weights alone, after loading). Values of several devices are sums where the row says `total`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.dial import by_parameters
from tuitrain_planners.errors import PlanError
from tuitrain_planners.framework import FRAMEWORKS
from tuitrain_planners.grid import memory_of
from tuitrain_planners.hardware import Hardware
from tuitrain_planners.memory import DeviceMemory
from tuitrain_planners.optimizers import OPTIMIZERS
from tuitrain_planners.parameters import count_parameters
from tuitrain_planners.precision import RECIPES
from tuitrain_planners.report import terms_by_group
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.validation.hardware_of_rows import hardware_of
from tuitrain_planners.validation.judged import Prediction
from tuitrain_planners.validation.layouts_of_rows import layout_of
from tuitrain_planners.validation.recipe_of_rows import adapter_of, attention_of, precision_of, state_group_of, zero_of
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.shapes_of_rows import NotComputableError, shape_of, with_positions

METRICS: Final = (
    "peak_memory", "peak_memory_reserved", "gpu_memory", "gpu_memory_nvml", "memory_reserved_after_init", "model_state_memory",
)  # fmt: skip
ALLOCATOR_BAND: Final = (0.97, 1.05)
"""Around an allocated peak: op-level traces against live runs."""
OTHER_SIZE: Final = 0.15
"""A preset that differs by more than this share from the memory a row states is taken with the row's."""
_BYTES: Final = {"gib": 2**30, "mib": 2**20, "gb": 10**9, "mb": 10**6}
_FRAMEWORKS: Final = (
    (r"litgpt", "litgpt"),
    (r"torchtune", "torchtune"),
    (r"torchtitan", "torchtitan"),
    (r"zero paper|zero \(|rajbhandari", "deepspeed-paper"),
    (r"megatron-deepspeed|bigscience|bloom", "megatron-deepspeed"),
    (r"internevo", "internevo"),
    (r"megatron|nemo|korthikanti", "megatron"),
    (r"swift", "ms-swift"),
)
"""Whose software, by source."""


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """One row, ready to be predicted."""

    row: Row
    request: PlanRequest
    figure: str
    """allocated | reserved | device | states | loaded."""
    devices: int
    """Over how many devices the value is summed."""
    scale: float = 1.0
    """Parameters of the row over those of the shape that stands for them."""

    def predict(self) -> Prediction:
        """The figure in bytes, with its band."""
        try:
            memory = memory_of(self.request)
        except PlanError as error:
            raise NotComputableError(error.message) from error
        low, mid, high = (each * self.devices * self.scale for each in _figure(memory, self.figure))
        fits = mid > self.devices * memory.capacity_bytes if self.row.out_of_memory else None
        return Prediction(value=mid, measured=self.measured(), unit="bytes", low=low, high=high, does_not_fit=fits)

    def measured(self) -> float | None:
        """The row's value in bytes; between the two readings of a unit that the source leaves open."""
        if self.row.measured is None:
            return None
        readings = [self.row.number(each) for each in ("value_gib_lo", "value_gib_hi")]
        if all(each is not None for each in readings):
            return sum(each or 0 for each in readings) / 2 * 2**30
        unit = (self.row.text("unit") or "GB").lower()
        note = self.row.text("unit_note").replace(" ", "")
        factor = {"1e9": 10**9, "2^20": 2**20, "2^30": 2**30}.get(note) or _BYTES.get(unit)
        if factor is None:
            raise NotComputableError(f"the unit {self.row.text('unit')!r} is no unit of memory")
        return self.row.measured * factor


def memory_row(row: Row, models: Path | None, hardware: Path | None) -> MemoryRow:
    """The row as a request; NotComputableError says why it is none."""
    if row.metric not in METRICS:
        raise NotComputableError(f"{row.metric} is a part or a rule of thumb, not the memory of a step")
    if row.measured is None and not row.out_of_memory:
        raise NotComputableError(f"{row.text('value')} is a list or a bound")
    if "device_map" in row.text("sharding"):
        raise NotComputableError("layers dealt out to devices without a pipeline are not planned")
    figure = figure_of(row)
    shape, scale = _shape(row, models, states=figure == "states")
    try:
        request = _request(row, shape, _hardware(row, hardware), figure)
    except NotComputableError:
        raise
    except PlanError as error:
        raise NotComputableError(error.message) from error
    return MemoryRow(row, request, figure, _summed(row), scale)


def figure_of(row: Row) -> str:
    """Which figure the row's tool shows."""
    metric, notes = row.metric, row.text("notes").lower()
    if metric == "model_state_memory":
        return "states"
    if metric == "memory_reserved_after_init":
        return "loaded"
    if metric == "peak_memory_reserved" or "max_memory_reserved" in notes:
        return "reserved"
    return "allocated" if metric == "peak_memory" else "device"


def _figure(memory: DeviceMemory, figure: str) -> tuple[float, float, float]:
    peak, reserved = memory.step.peak.value, memory.reserved_bytes.value
    low, mid, high = (each.value for each in (memory.device_bytes.low, memory.device_bytes.mid, memory.device_bytes.high))
    if figure == "device":
        return low, mid, high
    if figure == "reserved":
        return reserved * low / mid, reserved, reserved * high / mid
    if figure == "states":
        held = min(_states(terms_by_group(each)) for each in memory.step.phases if each.name == "optimizer")
        return held, held, held
    if figure == "loaded":
        loaded = terms_by_group(memory.step.phases[0])["weights"]
        return loaded, loaded, loaded * ALLOCATOR_BAND[1]
    return peak * ALLOCATOR_BAND[0], peak, peak * ALLOCATOR_BAND[1]


def _states(terms: dict[str, float]) -> float:
    return sum(terms.get(name, 0) for name in ("weights", "gradients", "optimizer"))


def _summed(row: Row) -> int:
    match = re.search(r"total over (\d+)", row.text("value_scope"))
    return int(match[1]) if match else 1


def _shape(row: Row, models: Path | None, *, states: bool) -> tuple[ModelShape, float]:
    """The shape and 1; where only states count, any shape of the right number of parameters will do."""
    try:
        return shape_of(row, models), 1.0
    except NotComputableError:
        wanted = row.number("params")
        if not states or wanted is None:
            raise
        shape = by_parameters(wanted)
        return shape, wanted / count_parameters(shape).value


def _hardware(row: Row, presets: Path | None) -> Hardware:
    """The device; where the row names none, or one without a preset, a GPU of the memory it states."""
    memory = row.number("gpu_mem_gb")
    try:
        found = hardware_of(row, presets)[0]
    except NotComputableError:
        return Hardware(name=row.text("gpu") or "gpu", kind="gpu", memory_bytes=(memory or 80) * 2**30, source="the row")
    if memory and abs(memory * 2**30 / found.memory_bytes - 1) > OTHER_SIZE:
        return replace(found, memory_bytes=memory * 2**30)
    return found


def _request(row: Row, shape: ModelShape, hardware: Hardware, figure: str) -> PlanRequest:
    seq_len = row.count("seq_len")
    if seq_len is None:
        if figure not in ("states", "loaded"):
            raise NotComputableError("the sequence length is not stated")
        seq_len = 1
    layout, name = layout_of(row, seq_len), framework_of(row)
    ranks = layout.mesh.state_ranks
    group = state_group_of(row, ranks)
    return PlanRequest(
        shape=with_positions(shape, seq_len), hardware=hardware, seq_len=seq_len, micro_batch=layout.micro_batch,
        grad_accum=layout.micro_steps, mesh=layout.mesh, zero=zero_of(row), shard_group=None if group == ranks else group,
        offload="optimizer" if re.search(r"opt cpu|optimizer offload", row.text("sharding")) else "none",
        attention=attention_of(row), adapter=_adapter(row, name), framework=name, precision=_precision(row, name),
        optimizer=_optimizer(row), recompute=recompute_of(row), loss_head=loss_of(row, name),
        compiled=row.text("compile").lower() == "yes", variable_lengths=lengths_vary(row),
        step_in_backward=bool(re.search(r"in_bwd|in backward", row.text("optimizer").lower())),
    )  # fmt: skip


def framework_of(row: Row) -> str:
    """Whose software: by source, else by how states are sharded."""
    where, sharding = f"{row.text('source')} {row.text('model')}".lower(), row.text("sharding").lower()
    if row.metric == "model_state_memory":
        return "deepspeed-paper"
    found = next((name for pattern, name in _FRAMEWORKS if re.search(pattern, where)), "hf-trainer")
    if found in ("hf-trainer", "ms-swift"):  # their trainers run on other software's engines too
        return "deepspeed" if "deepspeed" in sharding else "megatron" if "megatron" in sharding else found
    return found


def _adapter(row: Row, framework: str) -> Adapter | None:
    """The row's adapter as this software makes it."""
    adapter = adapter_of(row)
    if adapter is None:
        return None
    if framework in ("litgpt", "torchtune"):  # adapters in the model's dtype; litgpt drops 5 % of inputs out
        return replace(adapter, weight_bytes=2, dropout=framework == "litgpt")
    return replace(adapter, rest_in_fp32=adapter.base in ("nf4", "nf4-dq", "int8"))


def _precision(row: Row, framework: str) -> str:
    found, text = precision_of(row), row.text("precision").lower()
    if found.peak_dtype in ("fp8", "fp4"):
        return _known(("fp8-mixed", "bf16-mixed"), RECIPES, "precision", text)
    if found.compute_bytes == 2 and "mixed" not in text and framework in ("hf-trainer", "ms-swift"):
        return "bf16-pure"  # weights loaded in 16 bits stay so
    if text == "bf16" and "torchtune" in row.text("source").lower():  # its recipes keep weights and moments in 16 bits
        return "bf16-pure"
    return found.name


_OPTIMIZERS: Final = (
    (r"paged.*8", ("adamw-paged-8bit",)),
    (r"8bit|8-bit", ("adamw-8bit",)),
    (r"paged", ("adamw-paged",)),
    (r"adafactor", ("adafactor",)),
    (r"sgd", ("sgd",)),
    (r"muon", ("muon",)),
    (r"adam|^$", ("adamw",)),
)


def _optimizer(row: Row) -> str:
    text = row.text("optimizer").lower()
    names = next((names for pattern, names in _OPTIMIZERS if re.search(pattern, text)), ())
    return _known(names, OPTIMIZERS, "optimizer", text)


def recompute_of(row: Row) -> str:
    """none | selective | full; where the source does not say, none."""
    text = row.text("activation_checkpointing").lower()
    return "full" if text.startswith("full") else "selective" if text.startswith("selective") else "none"


def loss_of(row: Row, framework: str) -> str:
    """The loss head the notes tell of, else the framework's own. DeepSpeed in fp16 runs the loss in 16 bits: no autocast."""
    if re.search(r"liger|fused ce|cross_entropy_loss_fusion|cut cross", row.text("notes").lower()):
        return "fused"
    if framework == "deepspeed" and "fp16" in row.text("precision").lower():
        return "bf16"
    return FRAMEWORKS[framework].head(adapted=adapter_of(row) is not None)


def lengths_vary(row: Row) -> bool:
    """Fine-tuning without packing."""
    tuned = row.text("method").lower() in ("full", "lora", "qlora")
    return tuned and "reserved" in row.metric and "packed" not in row.text("notes").lower()


def _known(names: Iterable[str], table: Iterable[str], what: str, text: str) -> str:
    known = set(table)
    for name in names:
        if name in known:
            return name
    raise NotComputableError(f"the {what} {text!r} is not planned")
