"""The moments of a training step that can be the peak. The peak is the largest of them, never their sum.

    forward             all activations saved, nothing else yet
    loss                plus logits and loss at their worst
    backward_start      head done; the last layer's backward with every other layer's activations still there
    backward_end        the first layer's backward: all gradients except the input embedding's (it comes last)
    backward_embedding  the embedding's gradient; when tied, a second table before it is added to the head's
    optimizer           gradients, moments and the step's workspace
    save                weights serialised (on the CPU a copy of them)

Without accumulation gradients do not exist before backward; with it the main gradients live through all phases.
Known error: below 1 % against the live tensors of a whole step of the trainer in fp32 (tests/golden/test_memory_parity.py) and
against op-level traces of 8 B models. Allocator and context are added in `device`, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tuitrain_planners.framework import FRAMEWORKS
from tuitrain_planners.memory.activations import activations
from tuitrain_planners.memory.head import loss_head
from tuitrain_planners.memory.runtime import buffer_bytes, runtime
from tuitrain_planners.memory.sharding import Sharding, gathered, reduce_buffers
from tuitrain_planners.memory.states import (
    gradient_bytes,
    main_gradient_bytes,
    optimizer_bytes,
    per_parameter,
    step_workspace_bytes,
    weight_bytes,
    working_copy_bytes,
)
from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.parameters import embedding_parameters, outer_matrix_parameters
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

FP32_BYTES: Final = 4
UNSHARDED: Final = Sharding(framework=FRAMEWORKS["tuitrain"])
GROUPS: Final = ("weights", "gradients", "optimizer", "gathered", "activations", "head", "buffers", "runtime")
"""The terms every phase is split into, as the JSON report names them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMemory:
    """Memory of one training step on one device."""

    phases: tuple[Quantity, ...]
    """One total per phase; its terms are named after GROUPS."""
    peak: Quantity
    """The largest phase."""

    @property
    def peak_phase(self) -> Quantity:
        """The phase that is the peak; the earlier one when two are equal."""
        return max(self.phases, key=lambda phase: phase.value)


def step_memory(
    shape: ModelShape,
    *,
    seq_len: int,
    micro_batch: int,
    precision: Precision,
    optimizer: Optimizer,
    device: Literal["cpu", "gpu"],
    accumulating: bool = False,
    compiled: bool = False,
    recompute: str = "none",
    loss: str = "plain",
    chunk_rows: int | None = None,
    sharding: Sharding = UNSHARDED,
) -> StepMemory:
    """Every phase of one step, and the peak."""
    precision = sharding.framework.states(precision)
    acts = activations(
        shape,
        seq_len=seq_len,
        micro_batch=micro_batch,
        precision=precision,
        recompute=recompute,
        framework=sharding.framework,
    )
    # Autocast drops its casts when the forward pass ends, unless a layer keeps them for its backward: then the loss is worst
    # before backward begins.
    casts = sharding.framework.autocast and precision.compute_bytes < FP32_BYTES
    dropped = casts and recompute != "none"
    head = loss_head(
        shape,
        seq_len=seq_len,
        micro_batch=micro_batch,
        precision=precision,
        kind=loss,
        chunk_rows=chunk_rows,
        in_forward=dropped,
    )
    weights = weight_bytes(shape, precision, copies=not casts and not sharding.shards_weights)
    kept_casts = (working_copy_bytes(shape, precision, embedding=False),) if casts else ()
    later_casts = () if dropped else kept_casts
    grads = _gradients(shape, precision, sharding, accumulating=accumulating)
    units = gathered(shape, precision, sharding, loss=loss)
    held = {
        "weights": sharding.weights(weights),
        "gradients": total("gradients", grads.always, unit="bytes"),
        "optimizer": sharding.optimizer(optimizer_bytes(shape, precision, optimizer)),
        "buffers": buffer_bytes(shape, seq_len, precision),
        "runtime": total("runtime", runtime(device).counted(compiled=compiled)),
    }
    workspace = step_workspace_bytes(shape, precision, optimizer)
    loss_gradients = () if grads.whole_always else (head.gradients,)
    rebuilt = (acts.saved, acts.rebuilt, acts.backward)
    last = (acts.live_layer, acts.backward)
    phases = (
        _phase("forward", held, weights=kept_casts, activations=(acts.saved,), gathered=units.forward),
        _phase(
            "loss",
            held,
            weights=kept_casts,
            activations=(acts.saved,),
            gradients=loss_gradients,
            head=(head.temporaries,),
            gathered=units.loss,
        ),
        _phase(
            "backward_start",
            held,
            weights=later_casts,
            activations=rebuilt,
            gradients=grads.start,
            gathered=units.backward_start,
        ),
        _phase("backward_end", held, weights=later_casts, activations=last, gradients=grads.end, gathered=units.backward_end),
        _phase("backward_embedding", held, gradients=grads.embedding, gathered=units.backward_embedding),
        _phase("optimizer", held, gradients=grads.step, optimizer=(workspace,)),
        _phase("save", held, weights=_serialised(weights) if device == "cpu" else ()),
    )
    largest = max(phases, key=lambda each: each.value)
    inputs: dict[str, Quantity | float] = {each.name: each if each is largest else each.value for each in phases}
    peak = derived("peak memory", largest.value, "bytes", f"max({', '.join(inputs)})", **inputs)
    return StepMemory(phases=phases, peak=peak)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gradients:
    """Which gradients exist when."""

    always: tuple[Quantity, ...] = ()
    start: tuple[Quantity, ...] = ()
    end: tuple[Quantity, ...] = ()
    embedding: tuple[Quantity, ...] = ()
    step: tuple[Quantity, ...] = ()
    whole_always: bool = False
    """Whether room for every gradient is in `always`."""


def _gradients(shape: ModelShape, precision: Precision, sharding: Sharding, *, accumulating: bool) -> _Gradients:
    """Accumulating in place, all exist all the time; with separate main gradients, both kinds exist during backward. In
    buckets all exist all the time too. Sharded, a layer's are whole only until they are summed over the ranks."""
    table = int(embedding_parameters(shape).value)
    head = table if shape.tie_embeddings else outer_matrix_parameters(shape) - table
    second = (per_parameter("second gradient of the tied table", table, precision.matrix.grad),) if shape.tie_embeddings else ()
    in_place = not precision.matrix.main_grad
    if sharding.holds_buckets:
        return _Gradients(always=(main_gradient_bytes(shape, precision),), embedding=second, whole_always=True)
    if accumulating and in_place and not sharding.shards_gradients:
        return _Gradients(always=(main_gradient_bytes(shape, precision),), embedding=second)
    whole = gradient_bytes(shape, precision, vectors=not accumulating)
    partial = whole if shape.tie_embeddings else gradient_bytes(shape, precision, embedding=False, vectors=not accumulating)
    start = per_parameter("gradient of the head", head, precision.matrix.grad)
    if sharding.shards_gradients and sharding.ranks > 1:
        return _sharded_gradients(shape, precision, sharding, (start, partial, whole), second, accumulating=accumulating)
    return _Gradients(
        always=(main_gradient_bytes(shape, precision),) if accumulating else (),
        start=(start,),
        end=(partial,),
        embedding=(whole, *second),
        step=() if accumulating else (whole,),
    )


def _sharded_gradients(
    shape: ModelShape,
    precision: Precision,
    sharding: Sharding,
    parts: tuple[Quantity, Quantity, Quantity],
    second: tuple[Quantity, ...],
    *,
    accumulating: bool,
) -> _Gradients:
    """Shares of what is done, and one unit whole. Accumulating, the shares of everything are there from the start."""
    layer = reduce_buffers(shape, precision, sharding)
    always = (sharding.gradients(main_gradient_bytes(shape, precision)),) if accumulating else ()
    start, partial, whole = (() if accumulating else (sharding.gradients(each),) for each in parts)
    return _Gradients(
        always=always, start=(*start, parts[0], layer), end=(*partial, layer), embedding=(*whole, parts[0], *second), step=whole
    )


def _serialised(weights: Quantity) -> tuple[Quantity, ...]:
    """The copy of the weights a writer of safetensors makes in host memory."""
    terms = tuple(each for each in weights.terms if each.name != "working copy")
    return (total("copy being written", terms, source="assumption: the whole file is put together in memory"),)


def _phase(name: str, held: Mapping[str, Quantity], **more: tuple[Quantity, ...]) -> Quantity:
    """What is always held, and what this moment adds to each group."""
    terms = []
    for group in GROUPS:
        base, extra = held.get(group), tuple(each for each in more.get(group, ()) if each.value)
        if len(extra) == 1 and extra[0].name == group and not (base and base.value):
            terms.append(extra[0])
        elif extra:
            terms.append(total(group, (*(base.terms or (base,) if base and base.value else ()), *extra)))
        elif base is not None:
            terms.append(base)
    return total(name, terms)
