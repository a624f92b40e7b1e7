"""Which gradients exist at which moment of a step.

Accumulating in place, all exist all the time; with separate main gradients, both kinds exist during backward. In buckets all
exist all the time too, and accumulating a second time: what DistributedDataParallel does not sum over the ranks it leaves out
of its buckets, until the last micro-batch. Sharded, a unit's are whole only until they are summed over the ranks; FSDP2's
schedule: `reduction`.

Where room for a gradient is already there, it is made beside it and added. A tied table gets two, the head's and the
embedding's: the first waits for the second. Autograd adds the second into the first where it may write to it. It may not into
the view that a plain head without a cast writes: then their sum is a third table. (Resident memory of backward in torch 2.13; a
dispatch mode, as trackers are, makes it a third in every case.)
"""

from __future__ import annotations

from dataclasses import dataclass

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.memory.reduction import Reduction
from tuitrain_planners.memory.sharding import Sharding, reduce_buffers
from tuitrain_planners.memory.states import Split, Trained, gradient_bytes, main_gradient_bytes, per_parameter
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, given, total


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradients:
    """Terms by moment."""

    always: tuple[Quantity, ...] = ()
    passes: tuple[Quantity, ...] = ()
    """While micro-batches run, not in the optimizer's step."""
    start: tuple[Quantity, ...] = ()
    end: tuple[Quantity, ...] = ()
    embedding: tuple[Quantity, ...] = ()
    added: tuple[Quantity, ...] = ()
    """Right after it: the two gradients of a tied table and their sum."""
    summed: tuple[Quantity, ...] = ()
    """... and then: its unit's weights are given back, its gradients being summed over the ranks."""
    step: tuple[Quantity, ...] = ()
    whole_always: bool = False
    """Whether room for every gradient is in `always`."""


def gradients(
    holding: Holding,
    what: Trained,
    precision: Precision,
    sharding: Sharding,
    *,
    adapter: Adapter | None = None,
    accumulating: bool,
    in_backward: bool = False,
    loss: str = "plain",
) -> Gradients:
    """The gradients of one device. `in_backward`: each is used up as soon as it is made (Lv et al. 2023)."""
    if adapter is not None:
        return _of_adapters(what, precision, sharding, adapter)
    if in_backward:
        largest = max(what.embedding, what.head, what.hidden // holding.shape.num_layers)
        one = (per_parameter("largest gradients at once", largest, precision.matrix.grad, "lomo2023"),)
        return Gradients(start=one, end=one, embedding=one)
    table = what.embedding or what.head
    head = table if holding.tied else what.head
    second = (per_parameter("second gradient of the tied table", table, precision.matrix.grad),) if holding.tied else ()
    both = (*second, *_sum_of_the_table(table, precision, direct=loss == "plain")) if holding.tied else ()
    in_place = not precision.matrix.main_grad
    main = main_gradient_bytes(what, precision)
    whole_sum = accumulating and (not sharding.shards_gradients or sharding.no_sync)
    if sharding.holds_buckets or (whole_sum and in_place):
        waiting = (per_parameter("gradient of the head", head, precision.matrix.grad),) if holding.tied else ()
        made = per_parameter("gradient of the embedding", what.embedding, precision.matrix.grad)
        return Gradients(
            always=(main.whole,),
            passes=(_renamed("gradients beside the buckets", main.whole),) if sharding.holds_buckets and accumulating else (),
            start=waiting,
            end=waiting,
            embedding=(*waiting, *(second or (made,))),
            added=(*waiting, *both),
        )
    whole = gradient_bytes(what, precision, vectors=not accumulating)
    partial = whole if holding.tied else gradient_bytes(what, precision, embedding=False, vectors=not accumulating)
    start = per_parameter("gradient of the head", head, precision.matrix.grad)
    if sharding.shards_gradients and sharding.ranks > 1:
        if sharding.framework.reshards_in_two:
            unit = Reduction(holding, what, precision, sharding, direct=loss == "plain")
            return _fsdp2(unit, start, whole, main, accumulating=accumulating)
        parts = (start, partial, whole)
        return _sharded(holding, precision, sharding, parts, main, second, accumulating=accumulating)
    return Gradients(
        always=(main.whole,) if accumulating else (),
        start=(start,),
        end=(partial.whole,),
        embedding=(whole.whole, *second),
        added=(whole.whole, *both),
        step=() if accumulating else (whole.whole,),
    )


def _renamed(name: str, what: Quantity) -> Quantity:
    return total(name, what.terms)


def _of_adapters(what: Trained, precision: Precision, sharding: Sharding, adapter: Adapter) -> Gradients:
    """So few that they may be counted as being there all the time."""
    return Gradients(always=(sharding.gradients(gradient_bytes(what, precision, adapter)),), whole_always=True)


def _sum_of_the_table(entries: int, precision: Precision, *, direct: bool) -> tuple[Quantity, ...]:
    """The sum of the two gradients of a tied table, where it is made out of place."""
    if precision.matrix.copy or not direct:
        return ()
    return (per_parameter("sum of the tied table's gradients", entries, precision.matrix.grad),)


def _fsdp2(unit: Reduction, start: Quantity, whole: Split, main: Split, *, accumulating: bool) -> Gradients:
    """Shares of what is done, and what stands whole. Accumulating, the shares of everything are there from the start."""
    if accumulating:
        return Gradients(
            always=(unit.sharding.gradients(main),),
            start=unit.start(),
            end=unit.end(),
            embedding=unit.embedding(),
            added=unit.added(),
            summed=unit.copied(),
        )
    everything = unit.sharding.gradients(whole)
    return Gradients(
        start=unit.start() if unit.in_root else (unit.sharding.gradients(start), *unit.start()),
        end=(unit.but_first_layer(whole), *unit.end()),
        embedding=(unit.but_last_unit(whole), *unit.embedding()),
        added=(unit.but_last_unit(whole), *unit.added()),
        summed=unit.summed(whole),
        step=(everything,),
    )


def _sharded(
    holding: Holding,
    precision: Precision,
    sharding: Sharding,
    parts: tuple[Quantity, Split, Split],
    main: Split,
    second: tuple[Quantity, ...],
    *,
    accumulating: bool,
) -> Gradients:
    """Shares of what is done, and one unit whole. Accumulating, the shares of everything are there from the start."""
    layer = reduce_buffers(holding, precision, sharding)
    always = (sharding.gradients(main),) if accumulating else ()
    start, partial, whole = (() if accumulating else (sharding.gradients(each),) for each in parts)
    none = given("gradient of the head", 0, "bytes", "definition")
    unit = parts[0] if parts[0].value else none
    return Gradients(
        always=always, start=(*start, unit, layer), end=(*partial, layer), embedding=(*whole, unit, *second), step=whole
    )
