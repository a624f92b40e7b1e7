"""Peak memory of many layouts of one request: the same numbers as `memory_of`, to the byte, from tables.

A phase is what does not depend on the micro-batch (states, gathered weights, buffers), plus activations, which are proportional
to it times what the pipeline has in flight, plus the loss head. The tables are filled from real `Step`s, each for the few
things its part depends on:

    fixed         tensor and pipeline degree, expert degree, ZeRO stage, precision, whether gradients accumulate
    activations   tensor, pipeline and context degree, precision, recomputation; one sequence
    head          tensor and context degree, precision, loss head, micro-batch

Slow twin: `grid.memory_of`; equal on random layouts (tests/unit/planners/test_search_memory.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from tuitrain_planners.memory.activations import in_flight
from tuitrain_planners.memory.holding import Stage
from tuitrain_planners.memory.question import Question
from tuitrain_planners.memory.runtime import runtime
from tuitrain_planners.memory.step import Step
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.optimizers import optimizer
from tuitrain_planners.precision import recipe
from tuitrain_planners.quantity import Quantity
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.search_layouts import Layout

MID: Final = 1
HIGH: Final = 2
EMBEDDING: Final = 4
"""Which of the phases the embedding's backward is."""


class Peak(NamedTuple):
    """The largest phase of the fullest stage."""

    value: float
    """Bytes."""
    phase: str
    states: float
    """Bytes of weights and optimizer states in it."""


class _Fixed(NamedTuple):
    phases: tuple[float, ...]
    """Bytes without activations, head and what context parallelism changes."""
    states: float
    """Bytes of weights and optimizer states in every phase."""
    head_gradients: bool
    """Whether the head's gradients come on top in the loss."""
    made: float
    """Bytes when the embedding's gradient is made, beside what is waiting and the gradient of what was looked up."""
    added: float
    """Bytes when it is added to the head's or summed over the ranks."""
    embedded: int
    """Bytes per token of the gradient of what was looked up."""


class _Activations(NamedTuple):
    """Bytes of one sequence."""

    layers: float
    ends: float
    live: float
    at_last_layer: float
    """Beside the layers, when the last one's backward begins."""
    backward: float
    ring: float
    """Blocks of a neighbour's keys and values."""
    shorter: float
    """What buffers that are as long as the sequence change by, once."""


class MemoryTable:
    """Memory of layouts of one request."""

    def __init__(self, request: PlanRequest) -> None:
        self.request = request
        self.phases = tuple(each.name for each in Step(_question(request), "only").phases())
        # Only these read whether the layers are recomputed beside the activations themselves.
        self._reads_recompute = (
            request.adapter is not None
            or request.sharding().framework.autocast
            or request.sharding().framework.casts_by_product
        )
        self._fixed: dict[Hashable, _Fixed] = {}
        self._activations: dict[Hashable, _Activations] = {}
        self._heads: dict[Hashable, tuple[float, float]] = {}
        self._flights: dict[Hashable, float] = {}
        assumed = runtime(request.hardware.kind, request.sharding().framework.resident)
        self._assumed = replace(assumed, allocator_factor=assumed.variable_factor) if request.variable_lengths else assumed
        measured = request.hardware.memory_correction
        self._correction = measured["correction"].value if measured else 1
        self._offset = measured["offset"].value if measured else 0
        self._counted = sum(each.value for each in assumed.counted(compiled=request.compiled))

    def peak(self, layout: Layout) -> Peak:
        """As `memory_of(...).step.peak`."""
        if layout.mesh.pp == 1:
            return self._of_stage(layout, "only")
        first, last = self._of_stage(layout, "first"), self._of_stage(layout, "last")
        return last if last.value > first.value else first

    def device_bytes(self, peak: Peak, communicators: int, band: int) -> float:
        """As `memory_of(...).device_bytes`; `band` is MID or HIGH."""
        assumed, counted = self._assumed, self._counted
        held = counted - assumed.counted_bytes.value + assumed.counted_band[band]
        kept = 0 if assumed.states_fragment else peak.states
        live = (peak.value - counted - kept) * assumed.allocator_factor[band] + kept
        reserved = live * self._correction + held + self._offset
        return reserved + (assumed.outside_bytes[band] + communicators * assumed.communicator_bytes[band])

    def _of_stage(self, layout: Layout, stage: Stage) -> Peak:
        phases = self.phase_bytes(layout, stage)
        largest = max(phases)
        return Peak(largest, self.phases[phases.index(largest)], self._fixed_of(layout, stage).states)

    def phase_bytes(self, layout: Layout, stage: Stage) -> list[float]:
        """Every phase of one stage, in the order of `phases`."""
        mesh, b = layout.mesh, layout.micro_batch
        fixed, acts = self._fixed_of(layout, stage), self._activations_of(layout, stage)
        temporaries, gradients = self._head_of(layout, stage)
        layers, waiting, flight = b * acts.layers, 0, self._flight(mesh, stage, layout.grad_accum)
        if flight != 1:
            layers = int(flight * layers)
            waiting = int(max(0, layers * (1 - 1 / flight)))
        saved = layers + b * acts.ends
        backward = b * acts.backward
        moments = (
            saved,
            saved + temporaries + (gradients if fixed.head_gradients else 0),
            layers + b * acts.at_last_layer,
            waiting + b * acts.live + backward,
            waiting + max(fixed.made + b * self._tokens(mesh) * fixed.embedded, fixed.added),
            0,
            0,
        )
        always = acts.shorter + b * acts.ring
        return [base + more + always for base, more in zip(fixed.phases, moments, strict=True)]

    def _tokens(self, mesh: Mesh) -> int:
        """Tokens of one sequence, or pair, in tensors that sequence parallelism cuts."""
        pairs = 1 if self.request.reference == "none" else 2
        return self.request.seq_len * pairs // mesh.cp // mesh.sequence_cut

    def _fixed_of(self, layout: Layout, stage: Stage) -> _Fixed:
        mesh, zero = layout.mesh, layout.zero
        recompute = layout.recompute if self._reads_recompute else ""
        loss = layout.loss_head if zero > 1 else ""
        key = (mesh.tp, mesh.pp, mesh.ep, zero, layout.precision, recompute, loss, layout.grad_accum > 1, stage)
        if (found := self._fixed.get(key)) is None:
            flat = replace(mesh, dp=mesh.state_ranks, cp=1, vp=1, schedule="1f1b")
            found = self._fixed[key] = _fixed(
                self._step(layout._replace(mesh=flat, micro_batch=1, grad_accum=min(2, layout.grad_accum)), stage)
            )
        return found

    def _activations_of(self, layout: Layout, stage: Stage) -> _Activations:
        mesh = layout.mesh
        key = (mesh.tp, mesh.pp, mesh.cp, layout.precision, layout.recompute, stage)
        if (found := self._activations.get(key)) is None:
            alone = replace(mesh, dp=1, ep=1, vp=1, schedule="1f1b")
            one = layout._replace(mesh=alone, zero=0, micro_batch=1, grad_accum=1)
            step = self._step(one, stage)
            shorter = ring = 0.0
            if mesh.cp > 1:
                buffers = _buffers(step)
                ring = _buffers(self._step(one._replace(micro_batch=2), stage)) - buffers
                shorter = buffers - ring - _buffers(self._step(one._replace(mesh=replace(alone, cp=1)), stage))
            acts = step.acts
            found = self._activations[key] = _Activations(
                layers=acts.saved.terms[0].value,
                ends=acts.saved.terms[1].value,
                live=acts.live_layer.value,
                at_last_layer=_total(step.at_last_layer()) - acts.saved.terms[0].value,
                backward=acts.backward.value,
                ring=ring,
                shorter=shorter,
            )
        return found

    def _head_of(self, layout: Layout, stage: Stage) -> tuple[float, float]:
        """(temporaries, gradients)."""
        if stage == "first":
            return 0, 0
        mesh = layout.mesh
        recompute = layout.recompute if self._reads_recompute else ""
        key = (mesh.tp, mesh.cp, layout.micro_batch, layout.precision, recompute, layout.loss_head)
        if (found := self._heads.get(key)) is None:
            alone = replace(mesh, dp=1, ep=1, vp=1, schedule="1f1b")
            head = self._step(layout._replace(mesh=alone, zero=0, grad_accum=1), stage).head
            found = self._heads[key] = (head.temporaries.value, head.gradients.value)
        return found

    def _flight(self, mesh: Mesh, stage: Stage, micro_batches: int) -> float:
        if mesh.pp == 1:
            return 1
        key = (mesh.pp, mesh.vp, stage, micro_batches)
        if (found := self._flights.get(key)) is None:
            found = self._flights[key] = in_flight(mesh, stage, micro_batches).value
        return found

    def _step(self, layout: Layout, stage: Stage) -> Step:
        request = self.request
        if request.shard_group is not None and layout.mesh.state_ranks % request.shard_group:
            request = replace(request, shard_group=None)  # asked for activations only, on fewer devices
        return Step(_question(layout.of(request)), stage)


def _fixed(step: Step) -> _Fixed:
    acts, head, on_top = step.acts, step.head, step.holding.has_head and not step.grads.whole_always
    saved, waiting, backward = acts.saved.value, acts.waiting.value, acts.backward.value
    logits = (head.temporaries.value if step.holding.has_head else 0) + (head.gradients.value if on_top else 0)
    moments = (
        saved,
        saved + logits,
        _total(step.at_last_layer()),
        waiting + acts.live_layer.value + backward,
        waiting,
        0,
        0,
    )
    phases = [each.value - more for each, more in zip(step.phases(), moments, strict=True)]
    phases[EMBEDDING] = 0  # in `made` and `added`
    made, added, summed = (each.value - waiting for each in step.embedding_moments())
    found = step.embedded_bytes()
    return _Fixed(
        phases=tuple(phases),
        states=step.states_held().value,
        head_gradients=on_top,
        made=made - found.value,
        added=max(added, summed),
        embedded=int(float(found.inputs["h"]) * float(found.inputs["e"])),
    )


def _total(terms: Iterable[Quantity]) -> float:
    return sum(each.value for each in terms)


def _buffers(step: Step) -> float:
    return step.phases()[0].term("buffers").value


def _question(request: PlanRequest) -> Question:
    return Question(
        shape=request.shape,
        seq_len=request.seq_len,
        micro_batch=request.micro_batch,
        precision=recipe(request.precision),
        optimizer=optimizer(request.optimizer),
        device=request.hardware.kind,
        micro_batches=request.grad_accum,
        compiled=request.compiled,
        recompute=request.recompute,
        loss=request.loss_head,
        chunk_rows=request.chunk_rows,
        sharding=request.sharding(),
        mesh=request.mesh,
        adapter=request.adapter,
        reference=request.reference,
        offload=request.offload,
        attention=request.attention,
        step_in_backward=request.step_in_backward,
        expert_imbalance=request.expert_imbalance,
    )
