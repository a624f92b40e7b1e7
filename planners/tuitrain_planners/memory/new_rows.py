"""ZeRO-1 after the optimizer's step: every rank's new rows into every rank's weights, a bucket of tensors at a time.

A tensor of R rows is cut into n parts of ceil(R / n) rows. Tensors go into a bucket in the order of the model until one rank's
part is as large as a bucket may be; a larger tensor has one of its own. While a bucket is gathered, this rank's part and all
ranks' parts stand beside the weights: n + 1 parts (`tuitrain/trainer/parallel/zero1.py`; equal to traces of that step).
"""

from __future__ import annotations

from collections.abc import Iterator

from tuitrain_planners.matrices import hidden_matrices
from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.memory.states import Trained
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, given
from tuitrain_planners.shapes import ModelShape


def new_rows(holding: Holding, what: Trained, precision: Precision, sharding: Sharding) -> Quantity:
    """The fullest bucket. Of adapters, which are small: all of them in one."""
    n, limit = sharding.ranks, sharding.framework.row_bucket_bytes
    if sharding.stage != 1 or n == 1 or not limit:
        return given("new rows being gathered", 0, "bytes", "definition")
    each = precision.matrix.weight
    parts = _adapter_parts(what, n) if what.adapter else _parts(holding.shape, holding, n)
    largest = bucket = 0
    for entries in parts:
        size = entries * each
        if bucket and bucket + size > limit:
            bucket = 0
        bucket += size
        largest = max(largest, bucket)
    return derived("new rows being gathered", (n + 1) * largest, "bytes", "(n + 1) * bucket", "zero2019", n=n, bucket=largest)


def _parts(shape: ModelShape, holding: Holding, n: int) -> Iterator[int]:
    """Entries of one rank's part of every tensor, in the order of the model; a layer's vectors as if they were one."""
    h = shape.hidden_size
    vectors = (holding.vectors - holding.end_vectors) // shape.num_layers
    yield -(-(holding.embedding // h) // n) * h
    for layer in range(shape.num_layers):
        for matrix in hidden_matrices(shape):
            # Experts of a layer, and layers that lack a matrix: its share of all of them, layer by layer.
            count = (layer + 1) * matrix.count // shape.num_layers - layer * matrix.count // shape.num_layers
            for _ in range(count):
                yield -(-matrix.rows // n) * matrix.columns
        yield -(-vectors // n)
    yield -(-holding.end_vectors // n)
    yield -(-(holding.head // h) // n) * h


def _adapter_parts(what: Trained, n: int) -> Iterator[int]:
    yield -(-what.adapter // n)
    yield -(-what.whole_ends // n)
