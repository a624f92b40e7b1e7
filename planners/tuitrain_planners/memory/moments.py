"""Bytes of an optimizer's moments, tensor by tensor where that matters.

Adafactor keeps a row and a column of every matrix, in 32 bits: 4 (R + C) bytes (Shazeer & Stern 2018, section 3; transformers'
class). 8-bit optimizers leave tensors below 4096 entries in 32 bits (bitsandbytes 0.50, `min_8bit_size`). The others need
counts only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.matrices import hidden_matrices
from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.quantity import Quantity, derived
from tuitrain_planners.shapes import ModelShape

FP32_BYTES: Final = 4
SMALL: Final = 4096
"""Entries below which a tensor's moments are not quantised."""

Size = tuple[int, int, int]
"""(rows, columns, how many of them)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensors:
    """What matters of a class of matrices."""

    entries: int = 0
    sides: int = 0
    """Rows and columns of each, summed."""
    small: int = 0
    """Entries that are in tensors below SMALL."""
    largest: int = 0
    """Entries of the largest."""


def tensors(sizes: Iterable[Size]) -> Tensors:
    """Sums over matrices."""
    listed = [size for size in sizes if size[0] * size[1] * size[2]]
    return Tensors(
        entries=sum(rows * columns * count for rows, columns, count in listed),
        sides=sum((rows + columns) * count for rows, columns, count in listed),
        small=sum(rows * columns * count for rows, columns, count in listed if rows * columns < SMALL),
        largest=max((rows * columns for rows, columns, _ in listed), default=0),
    )


def layer_sizes(shape: ModelShape, *, routed: bool) -> list[Size]:
    """The matrices inside the layers: routed experts, or the others."""
    return [
        (each.rows, each.columns, each.count) for each in hidden_matrices(shape) if (each.block == "routed experts") == routed
    ]


def adapter_sizes(shape: ModelShape, adapter: Adapter, *, head: bool) -> list[Size]:
    """The two matrices of every adapter."""
    r = adapter.rank
    adapted = [(each.rows, each.columns, each.count) for each in hidden_matrices(shape) if each.target in adapter.targets]
    if head and "head" in adapter.targets:
        adapted.append((shape.vocab_size, shape.hidden_size, 1))
    return [size for m, n, count in adapted for size in ((r, n, count), (m, r, count))]


def moments_of(name: str, held: Tensors, optimizer: Optimizer, moments: int, recipe_bytes: int) -> Quantity:
    """Moments of matrices; `recipe_bytes`: of one moment where the optimizer has no bytes of its own."""
    if optimizer.factored:
        formula = "bytes * sides"
        return derived(name, FP32_BYTES * held.sides, "bytes", formula, optimizer.source, bytes=FP32_BYTES, sides=held.sides)
    n = held.entries
    each: float = recipe_bytes if optimizer.moment_bytes is None else optimizer.moment_bytes
    if optimizer.quantised and held.small:
        value = ceil(moments * (each * (n - held.small) + FP32_BYTES * held.small))
        return derived(
            name, value, "bytes", "ceil(m * (bytes * (n - small) + 4 * small))", optimizer.source,
            m=moments, bytes=each, n=n, small=held.small,
        )  # fmt: skip
    if isinstance(each, int):
        return derived(name, moments * each * n, "bytes", "m * bytes * n", optimizer.source, m=moments, bytes=each, n=n)
    return derived(name, ceil(moments * each * n), "bytes", "ceil(m * bytes * n)", optimizer.source, m=moments, bytes=each, n=n)


def moments_of_vectors(count: int, size: int, optimizer: Optimizer, recipe_bytes: int) -> Quantity:
    """Moments of norms' gains and of biases, each `size` entries long; a vector has nothing to factor."""
    if optimizer.moment_bytes is None:
        each: float = recipe_bytes
    elif optimizer.quantised and size >= SMALL:
        each = optimizer.moment_bytes
    else:
        each = FP32_BYTES
    moments = optimizer.other_moments
    return derived(
        "moments of vectors", ceil(moments * each * count), "bytes", "ceil(m * bytes * n)", optimizer.source,
        m=moments, bytes=each, n=count,
    )  # fmt: skip


def largest_temporaries(held: Iterable[Tensors], optimizer: Optimizer, weight_bytes: int) -> Quantity:
    """What a step of an optimizer that works tensor by tensor in 32 bits needs beside: Adafactor 12 bytes per entry of the
    largest tensor, 20 where weights and gradients are widened first (measured: transformers 5.23, torch 2.13)."""
    each = optimizer.largest_bytes + (2 * FP32_BYTES if weight_bytes < FP32_BYTES else 0)
    n = max((part.largest for part in held), default=0)
    return derived("temporaries of the largest tensor", n * each, "bytes", "n * bytes", optimizer.source, n=n, bytes=each)
