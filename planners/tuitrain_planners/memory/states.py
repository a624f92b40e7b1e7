"""What lives through the whole step: weights, working copy, gradients, optimizer states of what one device holds, unsharded.

Bytes per parameter come from the precision recipe, moments from the optimizer (ZeRO, Rajbhandari et al. 2019, section 3.1).
With an adapter the model is frozen - no gradients, no moments - and what is trained is the adapter's matrices (Hu et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tuitrain_planners.adapters import BASES, Adapter
from tuitrain_planners.memory.adapters import adapter_entries
from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.memory.moments import (
    Tensors,
    adapter_sizes,
    largest_temporaries,
    layer_sizes,
    moments_of,
    moments_of_vectors,
    tensors,
)
from tuitrain_planners.memory.orthogonal import orthogonalising_bytes
from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.precision import Precision, StateBytes
from tuitrain_planners.quantity import Quantity, derived, given, total

FP32_BYTES: Final = 4
SIXTEEN_BITS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """Counts of parameters that get gradients, by what happens to them."""

    hidden: int = 0
    experts: int = 0
    embedding: int = 0
    head: int = 0
    vectors: int = 0
    adapter: int = 0
    whole_ends: int = 0
    """Embedding and head trained whole beside an adapter, in 16 bits."""
    tensors: Mapping[str, Tensors] = field(default_factory=dict)
    """Sizes of the matrices among them: hidden, experts, outer, adapter."""
    vector_size: int = 0
    """Entries of one vector."""

    @property
    def outer(self) -> int:
        """Matrices outside the layers."""
        return self.embedding + self.head

    @property
    def matrices(self) -> int:
        """Matrices but for experts, which are shared out over fewer devices."""
        return self.hidden + self.outer


def trained(holding: Holding, adapter: Adapter | None) -> Trained:
    """Everything, or the adapter alone."""
    shape = holding.shape
    tables = [
        (holding.embedding // shape.hidden_size, shape.hidden_size, 1),
        (holding.head // shape.hidden_size, shape.hidden_size, 1),
    ]
    outer = tensors(tables)
    if adapter is not None:
        own = tensors(adapter_sizes(shape, adapter, head=holding.has_head))
        ends = holding.outer if adapter.trains_ends else 0
        return Trained(
            adapter=adapter_entries(holding, adapter),
            whole_ends=ends,
            tensors={"adapter": own, **({"outer": outer} if ends else {})},
        )
    routed = tensors(layer_sizes(shape, routed=True))
    local = -(-routed.sides * holding.experts // routed.entries) if routed.entries else 0
    return Trained(
        hidden=holding.hidden,
        experts=holding.experts,
        embedding=holding.embedding,
        head=holding.head,
        vectors=holding.vectors,
        vector_size=shape.hidden_size,
        tensors={
            "hidden": replace(tensors(layer_sizes(shape, routed=False)), entries=holding.hidden),
            "experts": replace(routed, entries=holding.experts, sides=local, small=min(routed.small, holding.experts)),
            "outer": outer,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """One state of a device: the part all devices of the data axis share, and the experts' part."""

    dense: Quantity
    experts: Quantity | None = None

    @property
    def whole(self) -> Quantity:
        """Both together."""
        return self.dense if self.experts is None else total(self.dense.name, (*self.dense.terms, self.experts))


def per_parameter(name: str, count: int, bytes_each: float, source: str = "zero2019") -> Quantity:
    """`count` parameters at `bytes_each`, in whole bytes."""
    value = count * bytes_each
    if isinstance(bytes_each, int):
        return derived(name, value, "bytes", "n * bytes", source, n=count, bytes=bytes_each)
    return derived(name, -(-value // 1), "bytes", "ceil(n * bytes)", source, n=count, bytes=bytes_each)


def weight_bytes(holding: Holding, precision: Precision, adapter: Adapter | None = None, *, copies: bool = True) -> Split:
    """Weights the optimizer moves, and the working copy of the matrices where the recipe has one and it is asked for; or
    frozen weights as the adapter's base keeps them, and the adapter."""
    if adapter is not None:
        return _frozen_bytes(holding, adapter)
    matrix, experts = precision.matrix, holding.experts
    terms = [
        per_parameter("weights of matrices", holding.hidden + holding.outer, matrix.weight),
        per_parameter("weights of vectors", holding.vectors, precision.vector.weight),
    ]
    each = matrix.weight
    if matrix.copy and copies:
        terms.append(working_copy_bytes(holding, precision, embedding=True))
        each += matrix.copy
    return _split("weights", terms, per_parameter("weights of experts", experts, each) if experts else None)


def _frozen_bytes(holding: Holding, adapter: Adapter) -> Split:
    each, source = BASES[adapter.base]
    rest = adapter.rest_bytes
    ends = [per_parameter("frozen embedding, head and norms", holding.outer + holding.vectors, rest, "definition")]
    if adapter.ends_in_int8:
        each_row = 1 + FP32_BYTES / holding.shape.hidden_size
        kept = "LLM.int8() by rows: one byte, and a 32-bit scale per row"
        ends = [
            per_parameter("frozen embedding and head in 8 bits", holding.outer, each_row, kept),
            per_parameter("frozen norms", holding.vectors, rest, "definition"),
        ]
    terms = [
        per_parameter("frozen matrices of the layers", holding.hidden, each, source),
        *ends,
        per_parameter("adapter", adapter_entries(holding, adapter), adapter.weight_bytes, "hu2021"),
    ]
    if adapter.trains_ends:
        terms.append(per_parameter("trained copies of embedding and head", holding.outer, SIXTEEN_BITS, "definition"))
    experts = per_parameter("frozen experts", holding.experts, each, source) if holding.experts else None
    return _split("weights", terms, experts)


def working_copy_bytes(holding: Holding, precision: Precision, *, embedding: bool) -> Quantity:
    """16-bit copies of the matrices that products read. `embedding=False`: autocast casts the inputs of products only."""
    matrices = holding.hidden + holding.outer
    if not embedding and not holding.tied:
        matrices -= holding.embedding
    return per_parameter("working copy", matrices, precision.matrix.copy, "micikevicius2017")


def gradient_bytes(
    what: Trained, precision: Precision, adapter: Adapter | None = None, *, embedding: bool = True, vectors: bool = True
) -> Split:
    """Gradients as backward writes them. `embedding=False` leaves the input table out, whose gradient comes last;
    `vectors=False` leaves out vectors, which add into their main gradients directly."""
    if adapter is not None:
        terms = [per_parameter("gradients of adapters", what.adapter, adapter.weight_bytes)]
        if what.whole_ends:
            terms.append(per_parameter("gradients of embedding and head", what.whole_ends, SIXTEEN_BITS))
        return Split(dense=total("gradients", terms))
    matrices = what.matrices - (0 if embedding else what.embedding)
    terms = [per_parameter("gradients of matrices", matrices, precision.matrix.grad)]
    if vectors:
        terms.append(per_parameter("gradients of vectors", what.vectors, precision.vector.grad))
    experts = per_parameter("gradients of experts", what.experts, precision.matrix.grad) if what.experts else None
    return _split("gradients", terms, experts)


def main_gradient_bytes(what: Trained, precision: Precision, adapter: Adapter | None = None) -> Split:
    """The sum over micro-batches, alive from the first to the step. Where the recipe has no separate one, backward adds into
    its own gradients, and these live on instead."""
    if adapter is not None:
        return gradient_bytes(what, precision, adapter)
    each = precision.matrix.main_grad or precision.matrix.grad
    terms = [
        per_parameter("main gradients of matrices", what.matrices, each, "micikevicius2017"),
        per_parameter("main gradients of vectors", what.vectors, precision.vector.main_grad or precision.vector.grad),
    ]
    return _split(
        "main gradients", terms, per_parameter("main gradients of experts", what.experts, each) if what.experts else None
    )


def optimizer_bytes(what: Trained, precision: Precision, optimizer: Optimizer, adapter: Adapter | None = None) -> Split:
    """Moments: of matrices inside layers, of the other matrices, of vectors; and master weights."""
    others = optimizer.other_moments
    if adapter is not None:
        parts = [
            moments_of("moments of adapters", what.tensors["adapter"], optimizer, others, adapter.weight_bytes),
        ]
        if what.whole_ends:
            ends = what.tensors["outer"]
            parts.append(moments_of("moments of embedding and head", ends, optimizer, others, SIXTEEN_BITS))
        return Split(dense=total("optimizer", parts))
    matrix, vector = precision.matrix, precision.vector
    sizes, hidden = what.tensors, optimizer.hidden_moments
    terms = (
        moments_of("moments of hidden matrices", sizes["hidden"], optimizer, hidden, matrix.moment),
        moments_of("moments of embedding and head", sizes["outer"], optimizer, others, matrix.moment),
        moments_of_vectors(what.vectors, what.vector_size, optimizer, vector.moment),
        per_parameter("master weights", what.matrices, matrix.master),
        per_parameter("master weights of vectors", what.vectors, vector.master),
    )
    experts = None
    if what.experts:
        moments = moments_of("moments of experts", sizes["experts"], optimizer, hidden, matrix.moment)
        master = per_parameter("master weights of experts", what.experts, matrix.master)
        experts = total("states of experts", [each for each in (moments, master) if each.value], unit="bytes")
    return _split("optimizer", [each for each in terms if each.value], experts)


def step_workspace_bytes(
    holding: Holding, what: Trained, states: StateBytes, optimizer: Optimizer, *, ranks: int = 1
) -> Quantity:
    """Temporaries of the optimizer step: for Muon the largest batch of equal matrices, for a multi-tensor AdamW one
    moment's worth of everything, for a fused one nothing. `ranks`: over how many devices states are cut; matters to Muon."""
    if optimizer.temporary_moments and (count := what.matrices + what.experts + what.vectors + what.adapter):
        each = optimizer.temporary_moments * states.moment
        return per_parameter("temporaries of the step", count, each, optimizer.source)
    if optimizer.largest_bytes:
        each = states.weight if not what.adapter else FP32_BYTES
        return largest_temporaries(what.tensors.values(), optimizer, each)
    if not optimizer.orthogonalises or what.adapter:
        return given("step workspace", 0, "bytes", "definition")
    return orthogonalising_bytes(holding.shape, states, ranks)


def _split(name: str, terms: list[Quantity], experts: Quantity | None) -> Split:
    return Split(dense=total(name, terms, unit="bytes"), experts=experts)
