"""Disk and host: bytes of a checkpoint, of those that are kept, of the data as tokens; RAM to load a model and to offload to.

A checkpoint is what a run needs to go on: the weights the optimizer moves and its states, with an adapter only the adapter's.
Gradients and working copies are made again. Sizes are those of the tensors; names, hashes and the tokenizer add well below 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tuitrain_planners.errors import PlanError
from tuitrain_planners.memory.holding import held
from tuitrain_planners.memory.states import gradient_bytes, optimizer_bytes, trained, weight_bytes
from tuitrain_planners.optimizers import optimizer
from tuitrain_planners.parameters import adapter_parameters, count_parameters
from tuitrain_planners.precision import recipe
from tuitrain_planners.quantity import Quantity, derived, given, total

if TYPE_CHECKING:
    from tuitrain_planners.adapters import Adapter
    from tuitrain_planners.memory.phases import StepMemory
    from tuitrain_planners.request import PlanRequest
    from tuitrain_planners.shapes import ModelShape

SMALL_VOCABULARY: Final = 1 << 16
"""Up to so many tokens an id takes 2 bytes, beyond it 4 (this project's shards)."""
FILE_BYTES: Final = 2
"""Bytes per parameter of a published base model's files."""
ADAPTER_STATE_BYTES: Final = 8
"""An adapter's two moments, in 32 bits."""
PROCESS_BYTES: Final = given("one training process", 2 * 2**30, "bytes", "assumption: interpreter, torch and CUDA libraries")

HostVerdict = Literal["fits", "oom", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """One machine around its devices."""

    memory_bytes: float | None = None
    """RAM; None: not known."""
    devices: int = 8
    """Devices of one machine, each with a process."""
    disk_bytes_per_s: float = 1e9
    """At which one machine writes checkpoints; machines write their parts at the same time."""
    disk_source: str = (
        "assumption: 1 GB/s per machine; Llama 3's storage sustained 2 TB/s for 2048 of them (llama3 section 3.3.1)"
    )
    checkpoints_kept: int = 3
    """At rest; one more while a new one is written. This project keeps the last two and the best."""

    def __post_init__(self) -> None:
        for name in ("devices", "checkpoints_kept"):
            if (value := getattr(self, name)) < 1:
                raise PlanError(f"host: {name} is {value}", "at least 1")
        if not self.disk_bytes_per_s > 0 or not (self.memory_bytes is None or self.memory_bytes > 0):
            raise PlanError(
                f"host: disk {self.disk_bytes_per_s} B/s, RAM {self.memory_bytes} bytes", "positive sizes and rates"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """What a run takes besides its devices' memory."""

    checkpoint_bytes: Quantity
    kept_bytes: Quantity
    dataset_bytes: Quantity
    disk_bytes: Quantity
    """Checkpoints and data together."""
    load_bytes: Quantity | None
    """RAM of one machine while the model is loaded; None on a CPU, where it is the device's memory."""
    pinned_bytes: Quantity | None
    """RAM of one machine for states that are offloaded; None when nothing is."""
    host_bytes: Quantity | None
    """The larger of the two, and the processes."""
    host_verdict: HostVerdict


def storage(request: PlanRequest, tokens: Quantity, step: StepMemory) -> Storage:
    """Disk and host RAM of a run; `tokens` is what it reads, unless the request knows its data to be less; `step` is the
    memory of one device's step, which tells what it offloads."""
    host = request.host
    checkpoint = checkpoint_bytes(request)
    kept = derived(
        "checkpoints on disk", checkpoint.value * (host.checkpoints_kept + 1), "bytes", "checkpoint * (kept + 1)",
        "definition", checkpoint=checkpoint, kept=host.checkpoints_kept,
    )  # fmt: skip
    dataset = dataset_bytes(tokens, request.unique_tokens, request.shape.vocab_size)
    load, pinned, needed = None, None, None
    if request.hardware.kind == "gpu":
        load, pinned = _load_bytes(request), _pinned_bytes(request, step)
        needed = _host_bytes(request, load, pinned)
    verdict: HostVerdict = "unknown"
    if needed is not None and host.memory_bytes is not None:
        verdict = "fits" if needed.value <= host.memory_bytes else "oom"
    return Storage(
        checkpoint_bytes=checkpoint,
        kept_bytes=kept,
        dataset_bytes=dataset,
        disk_bytes=total("disk", (kept, dataset)),
        load_bytes=load,
        pinned_bytes=pinned,
        host_bytes=needed,
        host_verdict=verdict,
    )


def checkpoint_bytes(request: PlanRequest) -> Quantity:
    """One checkpoint: weights and optimizer states of everything that is trained, whole, however it is sharded."""
    if request.adapter is not None:
        return _adapter_checkpoint_bytes(request.shape, request.adapter)
    precision = recipe(request.precision)
    holding = held(request.shape)
    states = optimizer_bytes(trained(holding, None), precision, optimizer(request.optimizer)).whole
    return total("checkpoint", (weight_bytes(holding, precision, copies=False).whole, states))


def dataset_bytes(tokens: Quantity, unique_tokens: float | None, vocab_size: int) -> Quantity:
    """The data as token ids. Data that is read several times is stored once."""
    stored = tokens if unique_tokens is None else given("tokens of the data", unique_tokens, "tokens")
    each = 2 if vocab_size <= SMALL_VOCABULARY else 4
    return derived("data as tokens", stored.value * each, "bytes", "D * bytes", "definition", D=stored, bytes=each)


def _adapter_checkpoint_bytes(shape: ModelShape, adapter: Adapter) -> Quantity:
    """The adapter's weights and moments; the base lies where it was."""
    count = adapter_parameters(shape, adapter)
    each = adapter.weight_bytes + ADAPTER_STATE_BYTES
    return derived(
        "checkpoint", count.value * each, "bytes", "n * (weight + moments)", "definition",
        n=count, weight=adapter.weight_bytes, moments=ADAPTER_STATE_BYTES,
    )  # fmt: skip


def _local(request: PlanRequest) -> int:
    """Devices, and processes, of the fullest machine."""
    return min(request.host.devices, request.mesh.devices)


def _load_bytes(request: PlanRequest) -> Quantity:
    """Every process of a machine reads the weights whole before it keeps its part."""
    if request.adapter is None:
        weights = weight_bytes(held(request.shape), recipe(request.precision), copies=False).whole
    else:
        n = count_parameters(request.shape)
        weights = derived("base weights in their files", n.value * FILE_BYTES, "bytes", "N * bytes", N=n, bytes=FILE_BYTES)
    ranks = _local(request)
    return derived("RAM to load", ranks * weights.value, "bytes", "ranks * weights", "definition", ranks=ranks, weights=weights)


def _pinned_bytes(request: PlanRequest, step: StepMemory) -> Quantity | None:
    """States in host memory, pinned so that copies overlap, and the gradients they are stepped with; as many as the fullest
    device offloads, for each process of the machine."""
    if request.offload == "none":
        return None
    holding, ranks = held(request.shape, request.mesh, step.stage), _local(request)
    moved = gradient_bytes(trained(holding, request.adapter), recipe(request.precision), request.adapter)
    each = total("offloaded states of a device", (step.host_bytes, request.sharding().optimizer(moved)))
    return derived(
        "RAM for offloaded states", ranks * each.value, "bytes", "ranks * states", "zero2019", ranks=ranks, states=each
    )


def _host_bytes(request: PlanRequest, load: Quantity, pinned: Quantity | None) -> Quantity:
    """Loading is over before states are offloaded: the larger of the two counts."""
    ranks, held = _local(request), pinned or given("RAM for offloaded states", 0, "bytes", "definition")
    value = max(load.value, held.value) + ranks * PROCESS_BYTES.value
    return derived(
        "RAM of one machine", value, "bytes", "max(load, pinned) + ranks * process", "definition",
        load=load, pinned=held, ranks=ranks, process=PROCESS_BYTES,
    )  # fmt: skip
