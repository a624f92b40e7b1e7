"""Bytes that one rank sends along the data axis in an optimizer step, by kind of collective.

Over the ranks that share states (Rajbhandari et al. 2019, section 7):

    stage   per optimizer step                          per micro-step
    0       all-reduce of the gradients                 -
    1       the same, all-gather of the new weights     -
    2       all-gather of the weights (1)               reduce-scatter of the gradients
    3       -                                           all-gather twice (once without resharding: as 2), reduce-scatter

(1) Software that gives them back after each micro-batch gathers them again in the next. The root group - with tied embeddings
their one table - is gathered once per micro-step under ZeRO-3 too: it stays. Copies of the shards (HSDP) all-reduce their share
of the gradients as often as these are reduce-scattered. Muon orthogonalises whole matrices: cut ones are exchanged and given
back, two all-to-alls of the updates in 16 bits.

A ring sends (n - 1) / n of the data per all-gather or reduce-scatter, twice that per all-reduce. Equal to the collectives of
traced steps to 0.1 % (tests/golden/data/parallel.csv).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tuitrain_planners.memory.holding import held
from tuitrain_planners.memory.sharding import REDUCE_BYTES, Sharding
from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.parameters import count_parameters, hidden_matrix_groups
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

KINDS: Final = ("all_gather", "reduce_scatter", "all_reduce", "all_to_all")
UPDATE_BYTES: Final = 2
"""Updates are orthogonalised in bf16."""


def sent_by_kind(
    shape: ModelShape,
    precision: Precision,
    sharding: Sharding,
    *,
    micro_steps: int,
    optimizer: Optimizer | None = None,
    parameters: Quantity | None = None,
    trained: Quantity | None = None,
) -> Mapping[str, Quantity]:
    """Within groups and between them, by kind; kinds that do not occur are left out. See `sent_bytes`."""
    found: dict[str, list[Quantity]] = {}
    held_here = count_parameters(shape) if parameters is None else parameters
    for kind, sent in _within(shape, precision, sharding, micro_steps, optimizer, held_here, trained):
        found.setdefault(kind, []).append(sent)
    if sharding.replicas > 1:
        moving = held_here if trained is None else trained
        found.setdefault("all_reduce", []).append(sent_between_groups(moving, precision, sharding, micro_steps=micro_steps))
    return {kind: total(kind, found[kind]) for kind in KINDS if kind in found}


def sent_bytes(
    shape: ModelShape,
    precision: Precision,
    sharding: Sharding,
    *,
    micro_steps: int,
    optimizer: Optimizer | None = None,
    parameters: Quantity | None = None,
    trained: Quantity | None = None,
) -> Quantity:
    """Bytes one rank sends to those it shares states with, per optimizer step: of `parameters` where it holds only a part,
    gradients of `trained` where not all of them are."""
    held_here = count_parameters(shape) if parameters is None else parameters
    parts = [sent for _, sent in _within(shape, precision, sharding, micro_steps, optimizer, held_here, trained)]
    return total("bytes sent per step", parts, unit="bytes")


def sent_between_groups(moving: Quantity, precision: Precision, sharding: Sharding, *, micro_steps: int = 1) -> Quantity:
    """Bytes one rank sends per optimizer step to those that hold the same shares (HSDP): its gradients' share, all-reduced."""
    r, n, wide = sharding.replicas, sharding.ranks, _reduced_bytes(precision, sharding)
    m = _reductions(sharding, micro_steps)
    value = m * 2 * (r - 1) / r * wide * moving.value / n
    name, formula = "bytes sent between groups per step", "m * 2 * (r - 1) / r * each * N / n"
    return derived(name, value, "bytes", formula, "zero2019", m=m, r=r, each=wide, N=moving, n=n)


def _within(
    shape: ModelShape,
    precision: Precision,
    sharding: Sharding,
    micro_steps: int,
    optimizer: Optimizer | None,
    held_here: Quantity,
    trained: Quantity | None,
) -> Iterator[tuple[str, Quantity]]:
    n, moving = sharding.ranks, held_here if trained is None else trained
    if n == 1:
        return
    states, wide = sharding.framework.states(precision), _reduced_bytes(precision, sharding)

    def part(name: str, p: Quantity, times: int, each: int) -> Quantity:
        value = times * (n - 1) / n * each * p.value
        return derived(name, value, "bytes", "times * (n - 1) / n * each * N", "zero2019", times=times, n=n, each=each, N=p)

    if sharding.stage < 2:
        yield "all_reduce", part("all-reduce of gradients", moving, 2, wide)
        if sharding.stage == 1:
            yield "all_gather", part("all-gather of new weights", moving, 1, states.matrix.weight)
    else:
        times = sharding.gathers_per_step(micro_steps)
        root = _root(shape, held_here, sharding)
        if root is None:
            yield "all_gather", part("all-gather of weights", held_here, times, precision.compute_bytes)
        else:
            rest = derived("parameters outside the root group", held_here.value - root.value, "parameters", "N - root",
                           N=held_here, root=root)  # fmt: skip
            yield "all_gather", part("all-gather of weights", rest, times, precision.compute_bytes)
            yield "all_gather", part("all-gather of the root group", root, micro_steps, precision.compute_bytes)
        again = _reductions(sharding, micro_steps)
        yield "reduce_scatter", part("reduce-scatter of gradients", moving, again, wide)
    if optimizer is not None and optimizer.orthogonalises and trained is None and sharding.stage >= 1:
        yield "all_to_all", _exchanged(shape, held_here, n)


def _root(shape: ModelShape, held_here: Quantity, sharding: Sharding) -> Quantity | None:
    """What stays gathered from forward to backward although layers do not; None: nothing, or everything does."""
    if sharding.keeps_gathered or not (shape.tie_embeddings or sharding.framework.root_stays_gathered):
        return None
    whole, n = held(shape), count_parameters(shape)
    value = (whole.outer + whole.end_vectors) * held_here.value / n.value
    ends = whole.outer + whole.end_vectors
    return derived("root group", value, "parameters", "ends * held / N", ends=ends, held=held_here, N=n)


def _exchanged(shape: ModelShape, held_here: Quantity, n: int) -> Quantity:
    """Rows of every matrix to the rank that has it whole, and back; of count matrices the first rank takes ceil(count / n)."""
    entries = 0
    for (rows, columns), count in hidden_matrix_groups(shape).items():
        cut, whole = -(-rows // n), -(-count // n)
        entries += columns * (cut * (count - whole) + whole * (rows - cut))
    everything = count_parameters(shape)
    value = entries * UPDATE_BYTES * held_here.value / everything.value
    return derived(
        "all-to-all of updates", value, "bytes", "e * entries * held / N", "muon2024",
        e=UPDATE_BYTES, entries=entries, held=held_here, N=everything,
    )  # fmt: skip


def _reductions(sharding: Sharding, micro_steps: int) -> int:
    """How often a step sums gradients over the ranks."""
    return 1 if sharding.stage < 2 or sharding.no_sync else micro_steps


def _reduced_bytes(precision: Precision, sharding: Sharding) -> int:
    """Of a gradient that is summed over ranks."""
    framework = sharding.framework
    return framework.states(precision).matrix.grad if framework.sixteen_bit_states else REDUCE_BYTES
