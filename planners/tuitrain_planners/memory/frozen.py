"""Frozen matrices that are kept packed: what stands unpacked while products read them.

bitsandbytes unpacks one matrix at a time, again in backward. GPTQ's training path unpacks with ordinary operations: autograd
keeps the 16-bit result until the layer's backward - of one layer when layers are recomputed, of all when not - and the
unpacking itself holds 32-bit and 8-bit integers of one matrix.
"""

from __future__ import annotations

from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.memory.states import per_parameter
from tuitrain_planners.parameters import hidden_matrix_groups
from tuitrain_planners.quantity import Quantity

UNPACKING_BYTES: Final = 4 + 1
_GPTQ: Final = "definition: auto-gptq's QuantLinear.forward when it trains"


def unpacked(holding: Holding, adapter: Adapter, compute_bytes: int, *, recomputing: bool) -> list[Quantity]:
    """The terms, none for a base that is read as it is kept."""
    if adapter.base in ("16bit", "fp32"):
        return []
    largest = max(rows * columns for rows, columns in hidden_matrix_groups(holding.shape))
    if adapter.base not in ("int4-gptq", "int8-gptq"):
        return [per_parameter("one frozen matrix, unpacked", largest, compute_bytes, "qlora2023")]
    layers = 1 if recomputing else holding.shape.num_layers
    entries = layers * (holding.hidden + holding.experts) // holding.shape.num_layers
    return [
        per_parameter("frozen matrices, unpacked for backward", entries, compute_bytes, _GPTQ),
        per_parameter("one frozen matrix while it is unpacked", largest, UNPACKING_BYTES, _GPTQ),
    ]
