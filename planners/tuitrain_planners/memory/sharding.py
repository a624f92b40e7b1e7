"""ZeRO: which state is cut into how many parts, and what has to be gathered or held whole all the same.

    stage   optimizer   gradients   weights     on top
    0       1           1           1           with several ranks: gradient buckets, alive from the first step on
    1       1/n         1           1           the same; a bucket of new weights after the step (`new_rows`)
    2       1/n         1/n         1/n or 1    FSDP2: 16-bit working copy of everything from forward to backward, or through
                                                all micro-batches of a step; paper: 16-bit weights kept whole
    3       1/n         1/n         1/n         16-bit units: the one computing, the one prefetched, the root group

(Rajbhandari et al. 2019, sections 5 and 7; Zhao et al. 2023 for units and prefetching.) A share is rounded up, so the ranks'
shares together are never less than the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from tuitrain_planners.adapters import BASES, Adapter
from tuitrain_planners.errors import PlanError
from tuitrain_planners.framework import Framework
from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.memory.states import Split
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, given, total

STAGES: Final = (0, 1, 2, 3)
REDUCE_BYTES: Final = 4
"""Gradients are summed over ranks in 32 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharding:
    """How states are spread over `ranks` data-parallel devices."""

    framework: Framework
    stage: int = 0
    ranks: int = 1
    """Devices that share the states of one copy."""
    expert_ranks: int | None = None
    """Devices that share the states of the same experts, where they are fewer (expert parallelism)."""
    replicas: int = 1
    """Copies of the sharded states (HSDP); gradients are summed over them too."""
    reshard: bool = True
    """ZeRO-3 gives a unit's weights back after its forward; without, they stay until its backward (FSDP2's ZeRO-2)."""
    no_sync: bool = False
    """Accumulation sums whole gradients and reduces once per step; otherwise every micro-step reduces (stages 2 and 3)."""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise PlanError(f"ZeRO stage {self.stage}", "one of 0, 1, 2, 3")
        if self.ranks < 1:
            raise PlanError(f"{self.ranks} data-parallel ranks", "at least one")

    @property
    def shards_weights(self) -> bool:
        """Whether weights at rest are cut."""
        return self.stage == 3 or (self.stage == 2 and self.framework.reshards_in_two)

    @property
    def shards_gradients(self) -> bool:
        """Whether a rank keeps its part of the gradients only."""
        return self.stage >= 2

    @property
    def holds_buckets(self) -> bool:
        """Whether gradients live in buckets that are never freed (DistributedDataParallel)."""
        return self.framework.buckets and self.ranks > 1 and self.stage < 2

    @property
    def keeps_gathered(self) -> bool:
        """Whether gathered weights stay from forward to backward."""
        return self.stage == 2 or not self.reshard

    def gathers_per_step(self, micro_steps: int) -> int:
        """How often a step gathers a unit's weights, stages 2 and 3."""
        if not self.keeps_gathered:
            return 2 * micro_steps
        return 1 if self.framework.gathers_once else micro_steps

    def weights(self, state: Split | Quantity) -> Quantity:
        """This rank's weights."""
        return self._part(state, cut=self.shards_weights)

    def gradients(self, state: Split | Quantity) -> Quantity:
        """This rank's gradients."""
        return self._part(state, cut=self.shards_gradients)

    def optimizer(self, state: Split | Quantity) -> Quantity:
        """This rank's optimizer states."""
        return self._part(state, cut=self.stage >= 1)

    def _part(self, state: Split | Quantity, *, cut: bool) -> Quantity:
        if isinstance(state, Quantity):
            return self._share(state, self.ranks) if cut else state
        if not cut:
            return state.whole
        dense = self._share(state.dense, self.ranks)
        if state.experts is None:
            return dense
        return total(state.dense.name, (dense, self._share(state.experts, self.expert_ranks or self.ranks)))

    def _share(self, whole: Quantity, ranks: int) -> Quantity:
        if ranks == 1:
            return whole
        return derived(whole.name, -(-int(whole.value) // ranks), "bytes", "ceil(whole / n)", "zero2019", whole=whole, n=ranks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """Weights that are whole on a rank for a while, in the compute dtype, by moment."""

    forward: tuple[Quantity, ...] = ()
    loss: tuple[Quantity, ...] = ()
    backward_start: tuple[Quantity, ...] = ()
    backward_end: tuple[Quantity, ...] = ()
    backward_embedding: tuple[Quantity, ...] = ()
    summed: tuple[Quantity, ...] = ()
    """While the last unit's gradients are summed over the ranks."""


def gathered(
    holding: Holding,
    precision: Precision,
    sharding: Sharding,
    *,
    loss: str,
    adapter: Adapter | None = None,
    accumulating: bool = False,
) -> Gathered:
    """What ZeRO-2 and 3 gather."""
    if not sharding.shards_weights:
        return Gathered()
    units = _Units(holding, precision.compute_bytes if adapter is None else adapter.rest_bytes, adapter)
    in_forward = loss in ("chunked", "fused")
    if sharding.keeps_gathered and sharding.framework.gathers_once and accumulating:
        everything = (units.everything(),)
        return Gathered(
            forward=everything, loss=everything, backward_start=everything, backward_end=everything,
            backward_embedding=everything, summed=everything,
        )  # fmt: skip
    if sharding.keeps_gathered:
        return _kept(units, holding, root=sharding.framework.root_stays_gathered or holding.tied, in_forward=in_forward)
    if sharding.framework.reshards_in_two:
        return _fsdp2(units, holding, sharding.framework, in_forward=in_forward)
    # The loss of a chunked head multiplies by the head's weights; of a plain one the head has already run and been given back.
    head = (units.head(),) if in_forward and holding.has_head else ()
    return Gathered(
        forward=(units.layers(2),),
        loss=head,
        backward_start=(units.layers(2),),
        backward_end=(units.layers(1),),
        backward_embedding=(units.embedding(),),
    )


def _kept(units: _Units, holding: Holding, *, root: bool, in_forward: bool) -> Gathered:
    """What is gathered once stays until its backward; units of the head's own are there for the loss alone. In forward the
    buffer the last unit came in stands beside it (see `_fsdp2`), under a loss that is all in forward too."""
    everything, last = units.everything(), units.root() if root else units.embedding()
    layers, one = everything if root else units.but_head(), units.layers(1)
    buffer = one if root or not holding.has_head else units.head()
    return Gathered(
        forward=(layers, one),
        loss=(everything, buffer) if in_forward else (everything,),
        backward_start=(layers,),
        backward_end=(units.layers(1), last),
        backward_embedding=(last,),
    )


def _fsdp2(units: _Units, holding: Holding, framework: Framework, *, in_forward: bool) -> Gathered:
    """ZeRO-3 as FSDP2 schedules it. In forward the buffer a unit was gathered into is kept until the next unit is copied out
    of its own; in backward the next unit is gathered while this one computes. So either way two stand: a chunked loss, which
    is all in forward (`in_forward`), has its head twice; a plain loss is worst as backward begins. A table that both ends of
    the model use cannot be a unit of either: it is in the root group, which stays.
    """
    one, two = units.layers(1), units.layers(2)
    prefetched = (one,) if framework.loss_in_unit else ()
    if framework.root_stays_gathered or holding.tied:
        root = units.root()
        return Gathered(
            forward=(root, two),
            loss=(root, *((one,) if in_forward else prefetched)),
            backward_start=(root, two),
            backward_end=(root, one),
            backward_embedding=(root,),
        )
    plain = (units.head(), *prefetched) if prefetched else ()
    loss = (units.head(2),) if in_forward else plain
    return Gathered(
        forward=(two,),
        loss=loss if holding.has_head else (),
        backward_start=(two,),
        backward_end=(one, units.embedding()),
        backward_embedding=(units.embedding(),),
    )


def reduce_buffers(holding: Holding, precision: Precision, sharding: Sharding) -> Quantity:
    """One layer's gradients, whole: as backward writes them, and widened for the sum over ranks."""
    if not sharding.shards_gradients or sharding.ranks == 1:
        return given("reduce buffers", 0, "bytes", "definition")
    n, c = holding.layer, precision.compute_bytes
    wide = REDUCE_BYTES if c < REDUCE_BYTES else 0
    return derived("reduce buffers", n * (c + wide), "bytes", "n * (c + wide)", "fsdp2023", n=n, c=c, wide=wide)


@dataclass(frozen=True, slots=True)
class _Units:
    holding: Holding
    element_bytes: int
    """Of what is gathered: the compute dtype's, or, frozen, as it is kept."""
    adapter: Adapter | None

    def layers(self, count: int) -> Quantity:
        held = self.holding
        count = min(count, held.shape.num_layers)
        name = f"{count} gathered layer{'s' if count > 1 else ''}"
        return self._with_layers(name, count * held.layer, 0)

    def everything(self) -> Quantity:
        held = self.holding
        inner = held.shape.num_layers * held.layer
        return self._with_layers("all weights gathered", inner, held.count - inner)

    def but_head(self) -> Quantity:
        held = self.holding
        inner = held.shape.num_layers * held.layer
        return self._with_layers("all weights but the head's gathered", inner, held.count - inner - held.head)

    def root(self) -> Quantity:
        return self._unit("root group gathered", self.holding.outer + self.holding.shape.hidden_size)

    def head(self, count: int = 1) -> Quantity:
        shape = self.holding.shape
        name = "head gathered" if count == 1 else "head gathered, and the buffer it came in"
        return self._unit(name, count * shape.vocab_size * shape.hidden_size)

    def embedding(self) -> Quantity:
        return self._unit("embedding gathered", self.holding.embedding)

    def _with_layers(self, name: str, inner: int, outer: int) -> Quantity:
        """Parameters in layers, and others, which a quantised base keeps differently."""
        each, source = (self.element_bytes, "") if self.adapter is None else BASES[self.adapter.base]
        if each == self.element_bytes:
            return self._unit(name, inner + outer)
        value, c = ceil(inner * each) + outer * self.element_bytes, self.element_bytes
        return derived(name, value, "bytes", "ceil(n * e) + m * c", source, n=inner, e=each, m=outer, c=c)

    def _unit(self, name: str, count: int) -> Quantity:
        c = self.element_bytes
        return derived(name, count * c, "bytes", "n * c", "fsdp2023", n=count, c=c)
