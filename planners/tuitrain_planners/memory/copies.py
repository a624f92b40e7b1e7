"""16-bit copies of 32-bit weights that products make for themselves, by moment. Each lives from its product's forward to its
backward.

Layers that are recomputed drop their copies with everything else and make them again, one layer at a time. The head casts its
weight for the loss; backward has no use for it once the last layer's begins. An embedding is looked up, not multiplied, so it
has no copy of its own; when tied the one table is cast as the head's weight.

Equal to op-level traces of this project's decoder (tests/golden/data/simulated.csv).
"""

from __future__ import annotations

from dataclasses import dataclass

from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.memory.states import per_parameter
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity

_SOURCE = "micikevicius2017"


@dataclass(frozen=True, kw_only=True, slots=True)
class Copies:
    """Terms by moment; none when the embedding's backward runs and in the optimizer."""

    forward: tuple[Quantity, ...] = ()
    loss: tuple[Quantity, ...] = ()
    backward_start: tuple[Quantity, ...] = ()
    backward_end: tuple[Quantity, ...] = ()


def copies(holding: Holding, precision: Precision, *, recomputing: bool) -> Copies:
    """Of a device that holds whole 32-bit weights and casts them product by product."""
    each = precision.matrix.copy
    if not each:
        return Copies()
    layers = per_parameter("16-bit copies of all layers", holding.hidden + holding.experts, each, _SOURCE)
    one_layer = -(-(holding.hidden + holding.experts) // holding.shape.num_layers)
    one = per_parameter("16-bit copies of one layer", one_layer, each, _SOURCE)
    table = holding.shape.vocab_size * holding.shape.hidden_size if holding.has_head else 0
    head = per_parameter("16-bit copy of the head", table, each, _SOURCE)
    standing = one if recomputing else layers
    return Copies(
        forward=(standing,),
        loss=(head,) if recomputing else (layers, head),
        backward_start=(standing,),
        backward_end=(one,),
    )
