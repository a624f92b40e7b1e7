"""Parameters of a shape by group, each with its formula. Exact: equal to the published counts of every shipped preset.

A tied head is counted once, in `embedding`. Validity: dense decoders as `ModelShape` describes them.
"""

from __future__ import annotations

from collections.abc import Mapping

from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

_UNIT = "parameters"


def count_parameters(shape: ModelShape) -> Quantity:
    """All parameters: embedding + attention + ffn + norms + head."""
    groups = (embedding_parameters(shape), attention_parameters(shape), ffn_parameters(shape), norm_parameters(shape))
    return total("parameters", (*groups, head_parameters(shape)))


def embedding_parameters(shape: ModelShape) -> Quantity:
    """Token table V * h, and the learned position table where there is one."""
    inputs: dict[str, Quantity | float] = {"V": shape.vocab_size, "h": shape.hidden_size}
    if not shape.learned_positions:
        return _count("embedding", shape.vocab_size * shape.hidden_size, "V * h", inputs)
    rows = shape.vocab_size + shape.max_seq_len
    return _count("embedding", rows * shape.hidden_size, "(V + s_max) * h", inputs | {"s_max": shape.max_seq_len})


def attention_parameters(shape: ModelShape) -> Quantity:
    """q and output projections h * a d, key and value projections h * k d, in every layer; biases where there are any."""
    h, q, kv = shape.hidden_size, shape.query_size, shape.kv_size
    formula, value = "L * (2 * h * a * d + 2 * h * k * d)", shape.num_layers * (2 * h * q + 2 * h * kv)
    if shape.attention_bias:
        formula, value = (
            "L * (2 * h * a * d + 2 * h * k * d + a * d + 2 * k * d + h)",
            value + shape.num_layers * (q + 2 * kv + h),
        )
    inputs = {"L": shape.num_layers, "h": h, "a": shape.num_heads, "k": shape.num_kv_heads, "d": shape.head_dim}
    return _count("attention", value, formula, inputs)


def ffn_parameters(shape: ModelShape) -> Quantity:
    """Three matrices h * f (gate, up, down) or two (up, down), in every layer; biases where there are any."""
    h, f, layers, matrices = shape.hidden_size, shape.ffn_size, shape.num_layers, 3 if shape.gated_ffn else 2
    source = "shazeer2020" if shape.gated_ffn else "definition"
    if not shape.ffn_bias:
        return derived("ffn", layers * matrices * h * f, _UNIT, f"L * {matrices} * h * f", source, L=layers, h=h, f=f)
    value = layers * (matrices * h * f + (matrices - 1) * f + h)
    return derived("ffn", value, _UNIT, f"L * ({matrices} * h * f + {matrices - 1} * f + h)", source, L=layers, h=h, f=f)


def norm_parameters(shape: ModelShape) -> Quantity:
    """Two norms a layer and one at the end, h each (LayerNorm: 2 h), and d for each of the q and k norms of a layer."""
    inputs = {"L": shape.num_layers, "h": shape.hidden_size}
    if not shape.norm_weights:
        return _count("norms", 0, "", {})
    norms = (2 * shape.num_layers + 1) * shape.hidden_size
    if shape.layer_norm:
        return _count("norms", 2 * norms, "2 * (2 * L + 1) * h", inputs)
    if shape.qk_norm:
        value = norms + 2 * shape.num_layers * shape.head_dim
        return _count("norms", value, "(2 * L + 1) * h + 2 * L * d", inputs | {"d": shape.head_dim})
    return _count("norms", norms, "(2 * L + 1) * h", inputs)


def head_parameters(shape: ModelShape) -> Quantity:
    """V * h, unless the head is the embedding again."""
    if shape.tie_embeddings:
        return _count("head", 0, "", {})
    return _count("head", shape.vocab_size * shape.hidden_size, "V * h", {"V": shape.vocab_size, "h": shape.hidden_size})


def hidden_matrix_parameters(shape: ModelShape) -> int:
    """Entries of the matrices inside the layers: what Muon moves."""
    attention = 2 * shape.hidden_size * (shape.query_size + shape.kv_size)
    return shape.num_layers * (attention + (3 if shape.gated_ffn else 2) * shape.hidden_size * shape.ffn_size)


def expert_parameters(shape: ModelShape) -> int:
    """Entries of the routed experts' matrices, of all layers: what expert parallelism deals out."""
    if shape.experts is None:
        return 0
    return shape.num_moe_layers * shape.experts.num * 3 * shape.hidden_size * shape.experts.ffn_size


def outer_matrix_parameters(shape: ModelShape) -> int:
    """Entries of the matrices outside the layers: embedding, positions, head."""
    return int(embedding_parameters(shape).value + head_parameters(shape).value)


def vector_parameters(shape: ModelShape) -> int:
    """Everything that is no matrix: norm scales and biases."""
    return int(count_parameters(shape).value) - hidden_matrix_parameters(shape) - outer_matrix_parameters(shape)


def hidden_matrix_groups(shape: ModelShape) -> dict[tuple[int, int], int]:
    """How many matrices of each (rows, columns) the layers hold together."""
    h, q, kv, f = shape.hidden_size, shape.query_size, shape.kv_size, shape.ffn_size
    ups = 2 if shape.gated_ffn else 1
    groups: dict[tuple[int, int], int] = {}
    for size, each_layer in (((q, h), 1), ((kv, h), 2), ((h, q), 1), ((f, h), ups), ((h, f), 1)):
        groups[size] = groups.get(size, 0) + each_layer * shape.num_layers
    return groups


def _count(name: str, value: int, formula: str, inputs: Mapping[str, Quantity | float]) -> Quantity:
    return derived(name, value, _UNIT, formula, **inputs)
