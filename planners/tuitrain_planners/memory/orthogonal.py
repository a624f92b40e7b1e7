"""What a step of Muon needs beside the states: the largest batch of equal matrices, count of m x n.

On one device, per entry: the 32-bit update, the stack of all of them, and two 16-bit iterates; per matrix two Gram matrices of
its shorter side; 32-bit copies of 16-bit gradients. Equal to live tensors of this project's Muon with bf16 products; 32-bit
products, on a CPU without bf16, need twice the iterates.

Cut over ranks, a device has ceil(m / ranks) rows of all, and whole ceil(count / ranks) of them. The fullest moment is one of

    whole matrices are put together     updates 4, in 16 bits 2, as sent 2 per entry of rows; as received 2, put together 2
    they are orthogonalised             updates 4 per entry of rows; received 2, two iterates 4 and the Gram matrices
    rows are back                       updates 4, received 2, widened 4 per entry of rows

(`tuitrain/trainer/muon_exchange.py`; within 2 % of traces of that step.)
"""

from __future__ import annotations

from tuitrain_planners.parameters import hidden_matrix_groups
from tuitrain_planners.precision import StateBytes
from tuitrain_planners.quantity import Quantity, derived
from tuitrain_planners.shapes import ModelShape

FP32_BYTES = 4


def orthogonalising_bytes(shape: ModelShape, states: StateBytes, ranks: int) -> Quantity:
    """Of matrices whose states are cut over `ranks`; 1: they are not."""
    copies, groups = 4 if states.grad < FP32_BYTES else 0, hidden_matrix_groups(shape)
    if ranks == 1:
        value, count, m, n = max(
            (count * (m * n * (8 + 4 + copies) + 4 * min(m, n) ** 2), count, m, n) for (m, n), count in groups.items()
        )
        formula = "count * (m * n * (8 + 4 + copies) + 4 * min(m, n) ** 2)"
        return derived("step workspace", value, "bytes", formula, "muon2024", count=count, m=m, n=n, copies=copies)
    value, rows, whole, gram = max(_cut(m, n, count, copies, ranks) for (m, n), count in groups.items())
    formula = "max((8 + copies) * rows + 4 * whole, (4 + copies) * rows + 6 * whole + 4 * gram, (10 + copies) * rows)"
    return derived("step workspace", value, "bytes", formula, "muon2024", rows=rows, whole=whole, gram=gram, copies=copies)


def _cut(m: int, n: int, count: int, copies: int, ranks: int) -> tuple[int, int, int, int]:
    """(bytes, entries of rows, entries of whole matrices, entries of one Gram matrix of each)."""
    mine = -(-count // ranks)
    rows, whole, gram = count * -(-m // ranks) * n, mine * m * n, mine * min(m, n) ** 2
    moments = ((8 + copies) * rows + 4 * whole, (4 + copies) * rows + 6 * whole + 4 * gram, (10 + copies) * rows)
    return max(moments), rows, whole, gram
