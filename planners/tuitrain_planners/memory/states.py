"""What lives through the whole step: weights, working copy, gradients, optimizer moments. One device, nothing sharded.

Bytes per parameter come from the precision recipe, moments from the optimizer (ZeRO, Rajbhandari et al. 2019, section 3.1).
"""

from __future__ import annotations

from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.parameters import (
    embedding_parameters,
    hidden_matrix_groups,
    hidden_matrix_parameters,
    outer_matrix_parameters,
    vector_parameters,
)
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, given, total
from tuitrain_planners.shapes import ModelShape


def per_parameter(name: str, count: int, bytes_each: int, source: str = "zero2019") -> Quantity:
    """`count` parameters at `bytes_each`."""
    return derived(name, count * bytes_each, "bytes", "n * bytes", source, n=count, bytes=bytes_each)


def weight_bytes(shape: ModelShape, precision: Precision, *, copies: bool = True) -> Quantity:
    """Weights the optimizer moves, and the working copy of the matrices where the recipe has one and it is asked for."""
    matrices = hidden_matrix_parameters(shape) + outer_matrix_parameters(shape)
    terms = [
        per_parameter("weights of matrices", matrices, precision.matrix.weight),
        per_parameter("weights of vectors", vector_parameters(shape), precision.vector.weight),
    ]
    if precision.matrix.copy and copies:
        terms.append(working_copy_bytes(shape, precision, embedding=True))
    return total("weights", terms)


def working_copy_bytes(shape: ModelShape, precision: Precision, *, embedding: bool) -> Quantity:
    """16-bit copies of the matrices that products read. `embedding=False`: autocast casts the inputs of products only."""
    matrices = hidden_matrix_parameters(shape) + outer_matrix_parameters(shape)
    if not embedding and not shape.tie_embeddings:
        matrices -= int(embedding_parameters(shape).value)
    return per_parameter("working copy", matrices, precision.matrix.copy, "micikevicius2017")


def gradient_bytes(shape: ModelShape, precision: Precision, *, embedding: bool = True, vectors: bool = True) -> Quantity:
    """Gradients as backward writes them. `embedding=False` leaves the input table out, whose gradient comes last;
    `vectors=False` leaves out vectors, which add into their main gradients directly."""
    matrices = hidden_matrix_parameters(shape) + outer_matrix_parameters(shape)
    if not embedding:
        matrices -= int(embedding_parameters(shape).value)
    terms = [per_parameter("gradients of matrices", matrices, precision.matrix.grad)]
    if vectors:
        terms.append(per_parameter("gradients of vectors", vector_parameters(shape), precision.vector.grad))
    return total("gradients", terms)


def main_gradient_bytes(shape: ModelShape, precision: Precision) -> Quantity:
    """The sum over micro-batches, alive from the first to the step. Where the recipe has no separate one, backward adds into
    its own gradients, and these live on instead."""
    matrices = hidden_matrix_parameters(shape) + outer_matrix_parameters(shape)
    each = precision.matrix.main_grad or precision.matrix.grad
    terms = (
        per_parameter("main gradients of matrices", matrices, each, "micikevicius2017"),
        per_parameter(
            "main gradients of vectors", vector_parameters(shape), precision.vector.main_grad or precision.vector.grad
        ),
    )
    return total("main gradients", terms)


def optimizer_bytes(shape: ModelShape, precision: Precision, optimizer: Optimizer) -> Quantity:
    """Moments: of matrices inside layers, of the other matrices, of vectors."""
    hidden, outer, vectors = hidden_matrix_parameters(shape), outer_matrix_parameters(shape), vector_parameters(shape)
    source = "muon2024" if optimizer.name == "muon" else "zero2019"
    terms = (
        per_parameter("moments of hidden matrices", hidden, optimizer.hidden_moments * precision.matrix.moment, source),
        per_parameter("moments of embedding and head", outer, optimizer.other_moments * precision.matrix.moment),
        per_parameter("moments of vectors", vectors, optimizer.other_moments * precision.vector.moment),
        per_parameter("master weights", hidden + outer, precision.matrix.master),
        per_parameter("master weights of vectors", vectors, precision.vector.master),
    )
    return total("optimizer", (each for each in terms if each.value))


def step_workspace_bytes(shape: ModelShape, precision: Precision, optimizer: Optimizer) -> Quantity:
    """Temporaries of the optimizer step: for Muon the largest batch of equal matrices.

    Per entry the 32-bit update, the stack of all of them, and two 16-bit iterates; per matrix two Gram matrices of its shorter
    side; 32-bit copies of 16-bit gradients. Equal to live tensors of this project's Muon with bf16 products; 32-bit products,
    on a CPU without bf16, need twice the iterates.
    """
    if not optimizer.orthogonalises:
        return given("step workspace", 0, "bytes", "definition")
    copies = 4 if precision.matrix.grad < 4 else 0
    value, count, rows, columns = max(
        (count * (m * n * (8 + 4 + copies) + 4 * min(m, n) ** 2), count, m, n)
        for (m, n), count in hidden_matrix_groups(shape).items()
    )
    formula = "count * (m * n * (8 + 4 + copies) + 4 * min(m, n) ** 2)"
    return derived("step workspace", value, "bytes", formula, "muon2024", count=count, m=rows, n=columns, copies=copies)
