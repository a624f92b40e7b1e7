"""Gradients under ZeRO-3 (and 2) as FSDP2 makes them: shares of the units that are done, and what stands whole meanwhile.

A unit's gradients appear in the compute dtype. When its backward is done they are copied into one 32-bit buffer, which is
reduced to this rank's share and kept until the next unit has one of its own (Zhao et al. 2023; torch/distributed/fsdp/
_fully_shard/_fsdp_param_group.py, post_backward). So while the activations of a layer stand in full,

    the buffer of the unit before it        the head's at the last layer, a layer's at all others
    the layer's first gradient              of the product that ends its feed-forward
    the gradient of the head                if it waits: the root group is reduced when everything else is

are whole. Equal to op-level traces of this project's step (tests/golden/data/simulated.csv).
"""

from __future__ import annotations

from typing import Final

from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.memory.sharding import REDUCE_BYTES, Sharding
from tuitrain_planners.memory.states import Split, Trained, per_parameter
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived

SOURCE: Final = "fsdp2023"


class Reduction:
    """The whole gradients of one device, by moment. `direct`: a plain loss's head writes the gradient of its weight as a view,
    which autograd never adds into."""

    def __init__(self, holding: Holding, what: Trained, precision: Precision, sharding: Sharding, *, direct: bool) -> None:
        self.holding, self.what, self.sharding = holding, what, sharding
        self.c, self.grad = precision.compute_bytes, precision.matrix.grad
        self.direct = direct
        self.in_root = holding.tied or sharding.framework.root_stays_gathered
        self.head = what.head or (what.embedding if holding.tied else 0)
        self.last_unit = what.outer if self.in_root else what.embedding

    def start(self) -> tuple[Quantity, ...]:
        """While the last layer's activations stand."""
        if self.in_root:
            return (self._waiting(), self._first_of_layer())
        return (
            per_parameter("gradient of the head, being summed", self.head, REDUCE_BYTES, SOURCE),
            self._first_of_layer(),
        )

    def end(self) -> tuple[Quantity, ...]:
        """While the first layer's activations stand."""
        terms = (self._layer_before(), self._first_of_layer())
        return (*terms, self._waiting()) if self.in_root else terms

    def embedding(self) -> tuple[Quantity, ...]:
        """While the embedding's gradient is made."""
        made = per_parameter("gradient of the embedding", self.what.embedding, self.c, SOURCE)
        terms = (self._layer_before(), made)
        return (*terms, self._waiting()) if self.in_root else terms

    def added(self) -> tuple[Quantity, ...]:
        """While a tied table's two gradients are added, if that is made out of place."""
        if not (self.holding.tied and self.direct):
            return ()
        return (*self.embedding(), per_parameter("sum of the tied table's gradients", self.what.embedding, self.c, SOURCE))

    def copied(self) -> tuple[Quantity, ...]:
        """While the last unit's gradients are copied to be summed; its weights have been given back."""
        return (self._last_buffer(), per_parameter("last unit's gradients", self.last_unit, self.c, SOURCE))

    def summed(self, whole: Split) -> tuple[Quantity, ...]:
        """The same with this rank's shares; or, if that is more, as the last shares are made. Of the gradients then only the
        unit's last one is still there: foreach_reduce has it in the variable of a loop."""
        left = per_parameter("gradient of the last matrix", self.what.head if self.in_root else self.last_unit, self.c, SOURCE)
        moments = (
            (self.but_last_unit(whole), *self.copied()),
            (self.sharding.gradients(whole), self._last_buffer(), left),
        )
        return max(moments, key=lambda terms: sum(each.value for each in terms))

    def but_first_layer(self, whole: Split) -> Quantity:
        """This rank's share of the units that are done when the first layer's backward runs."""
        missing = per_parameter("first layer and last unit", self.holding.layer + self.last_unit, self.grad)
        return self._share(whole, missing)

    def but_last_unit(self, whole: Split) -> Quantity:
        """... and when the embedding's does."""
        return self._share(whole, per_parameter("last unit", self.last_unit, self.grad))

    def _share(self, whole: Split, missing: Quantity) -> Quantity:
        share = self.sharding.gradients(whole)
        part = self.sharding.gradients(missing)
        value = max(0, share.value - part.value)
        return derived("gradients", value, "bytes", "max(0, share - missing)", SOURCE, share=share, missing=part)

    def _last_buffer(self) -> Quantity:
        return per_parameter("last unit's gradients, being summed", self.last_unit, REDUCE_BYTES, SOURCE)

    def _layer_before(self) -> Quantity:
        return per_parameter("gradients of one layer, being summed", self.holding.layer, REDUCE_BYTES, SOURCE)

    def _first_of_layer(self) -> Quantity:
        shape, holding = self.holding.shape, self.holding
        entries = shape.ffn_size * shape.hidden_size
        if shape.experts is not None:
            entries = holding.experts // ((3 if shape.gated_ffn else 2) * shape.num_moe_layers)
        return per_parameter("first gradient of a layer", entries, self.c, SOURCE)

    def _waiting(self) -> Quantity:
        return per_parameter("gradient of the head", self.head, self.c, SOURCE)
