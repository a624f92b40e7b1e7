"""Parameters of a shape by group, each with its formula. Exact: equal to the published counts of every shipped preset.

A tied head is counted once, in `embedding`. Validity: decoders as `ModelShape` describes them. Of a mixture of experts all
experts count; `active_parameters` counts those a token uses. Heads that predict further tokens (MTP) are not part of a shape.
"""

from __future__ import annotations

from functools import lru_cache

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.errors import PlanError
from tuitrain_planners.matrices import Matrix, hidden_matrices, of_shape, sum_of_sizes
from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

_UNIT = "parameters"
_FFN_BLOCKS = ("ffn", "router", "routed experts", "shared experts")


@lru_cache(maxsize=64)
def count_parameters(shape: ModelShape) -> Quantity:
    """All parameters: embedding + attention + ffn + norms + head."""
    groups = (embedding_parameters(shape), attention_parameters(shape), ffn_parameters(shape), norm_parameters(shape))
    return total("parameters", (*groups, head_parameters(shape)))


@lru_cache(maxsize=64)
def active_parameters(shape: ModelShape) -> Quantity:
    """Parameters one token uses: all but the routed experts it does not visit (Fedus et al. 2021). Embedding rows all count."""
    everything = count_parameters(shape)
    if shape.experts is None:
        return everything
    routed = expert_parameters(shape)
    idle = routed * (shape.experts.num - shape.experts.per_token) // shape.experts.num
    return of_shape(
        "active parameters", everything.value - idle, _UNIT, "N - N_routed * (E - e) / E", "fedus2021", shape,
        N=everything, N_routed=routed,
    )  # fmt: skip


def adapter_parameters(shape: ModelShape, adapter: Adapter) -> Quantity:
    """Trained parameters: rank * (rows + columns) for every adapted matrix (Hu et al. 2021, section 4.1).

    Targets a shape lacks (the gate of GPT-2) add nothing; a shape with none of them is an error. Of a compressed pair (latent
    attention) both matrices are adapted; of experts each one is. A projection that software fuses is adapted here as its parts.
    """
    terms = [
        _adapters(shape, adapter, target, [each for each in hidden_matrices(shape) if each.target == target])
        for target in adapter.targets
    ]
    found = [each for each in terms if each.value]
    if not found:
        raise PlanError(f"{shape.name} has none of {', '.join(adapter.targets)}", "adapt q, k, v, o, up or down")
    return total("adapter parameters", found)


def _adapters(shape: ModelShape, adapter: Adapter, target: str, matrices: list[Matrix]) -> Quantity:
    sides = sum(each.count * (each.rows + each.columns) for each in matrices)
    if target == "head":
        sides += shape.vocab_size + shape.hidden_size
    return derived(f"adapters of {target}", adapter.rank * sides, _UNIT, "r * sides", "hu2021", r=adapter.rank, sides=sides)


def embedding_parameters(shape: ModelShape) -> Quantity:
    """Token table V * h, and the learned position table where there is one."""
    if not shape.learned_positions:
        return of_shape("embedding", shape.vocab_size * shape.hidden_size, _UNIT, "V * h", "definition", shape)
    rows = shape.vocab_size + shape.max_seq_len + shape.position_offset
    formula = f"(V + s_max + {shape.position_offset}) * h" if shape.position_offset else "(V + s_max) * h"
    return of_shape("embedding", rows * shape.hidden_size, _UNIT, formula, "definition", shape)


def attention_parameters(shape: ModelShape) -> Quantity:
    """Projections of queries, keys, values and output in every layer, compressed ones too; biases where there are any."""
    matrices = [each for each in hidden_matrices(shape) if each.block not in _FFN_BLOCKS]
    formula, value = sum_of_sizes(matrices), sum(each.entries for each in matrices)
    h, q, kv, layers = shape.hidden_size, shape.query_size, shape.kv_size, shape.num_layers
    if shape.attention_bias:
        formula, value = f"{formula} + L * (a * d + 2 * k * d + h)", value + layers * (q + 2 * kv + h)
    elif shape.qkv_bias:
        formula, value = f"{formula} + L * (a * d + 2 * k * d)", value + layers * (q + 2 * kv)
    source = "definition" if shape.latent is None else "deepseek2024"
    return of_shape("attention", value, _UNIT, formula, source, shape)


def ffn_parameters(shape: ModelShape) -> Quantity:
    """Three matrices h * f (gate, up, down) or two (up, down), in every layer or expert; router, biases where there are any."""
    matrices = [each for each in hidden_matrices(shape) if each.block in _FFN_BLOCKS]
    formula, value = sum_of_sizes(matrices), sum(each.entries for each in matrices)
    ups = 2 if shape.gated_ffn else 1
    if shape.ffn_bias:
        formula, value = (
            f"{formula} + L * ({ups} * f + h)",
            value + shape.num_layers * (ups * shape.ffn_size + shape.hidden_size),
        )
    if (experts := shape.experts) is not None and experts.router_bias:
        formula, value = f"{formula} + L_e * E", value + shape.num_moe_layers * experts.num
    if experts is not None and experts.shared_gate:
        formula, value = f"{formula} + L_e * h", value + shape.num_moe_layers * shape.hidden_size
    return of_shape("ffn", value, _UNIT, formula, "shazeer2020" if shape.gated_ffn else "definition", shape)


def norm_parameters(shape: ModelShape) -> Quantity:
    """Norms of a layer and one at the end, h each; one behind the embedding (BLOOM); those of queries, keys and compressed
    vectors. A LayerNorm with a shift has twice as many."""
    if not shape.norm_weights:
        return _none("norms")
    layers, h = shape.num_layers, shape.hidden_size
    terms = [(f"({shape.norms_per_layer} * L + 1) * h", (shape.norms_per_layer * layers + 1) * h)]
    if shape.embedding_norm_weights:
        terms.append(("h", h))
    if shape.qk_norm:
        terms.append(("2 * L * d", 2 * layers * shape.head_dim))
    if shape.wide_qk_norm:
        terms.append(("L * (a + k) * d", layers * (shape.query_size + shape.kv_size)))
    if (latent := shape.latent) is not None:
        terms.append(("L * r_kv", layers * latent.kv_rank))
        if latent.q_rank is not None:
            terms.append(("L * r_q", layers * latent.q_rank))
    formula, value = " + ".join(text for text, _ in terms), sum(count for _, count in terms)
    if shape.layer_norm and shape.norm_bias:
        formula, value = f"2 * {formula if len(terms) == 1 else f'({formula})'}", 2 * value
    return of_shape("norms", value, _UNIT, formula, "definition", shape)


def head_parameters(shape: ModelShape) -> Quantity:
    """V * h, unless the head is the embedding again; a bias of V where there is one."""
    value = (0 if shape.tie_embeddings else shape.vocab_size * shape.hidden_size) + (shape.vocab_size if shape.head_bias else 0)
    parts = [*([] if shape.tie_embeddings else ["V * h"]), *(["V"] if shape.head_bias else [])]
    return of_shape("head", value, _UNIT, " + ".join(parts), "definition", shape) if parts else _none("head")


def hidden_matrix_parameters(shape: ModelShape) -> int:
    """Entries of the matrices inside the layers, experts and routers among them: what Muon moves."""
    return sum(each.entries for each in hidden_matrices(shape))


def expert_parameters(shape: ModelShape) -> int:
    """Entries of the routed experts of all layers: the part of `hidden_matrix_parameters` that expert parallelism deals out."""
    return sum(each.entries for each in hidden_matrices(shape) if each.block == "routed experts")


def outer_matrix_parameters(shape: ModelShape) -> int:
    """Entries of the matrices outside the layers: embedding, positions, head without its bias."""
    bias = shape.vocab_size if shape.head_bias else 0
    return int(embedding_parameters(shape).value + head_parameters(shape).value) - bias


def vector_parameters(shape: ModelShape) -> int:
    """Everything that is no matrix: norm scales, biases, the gate of shared experts."""
    return int(count_parameters(shape).value) - hidden_matrix_parameters(shape) - outer_matrix_parameters(shape)


def hidden_matrix_groups(shape: ModelShape) -> dict[tuple[int, int], int]:
    """How many matrices of each (rows, columns) the layers hold together, each expert's apart."""
    groups: dict[tuple[int, int], int] = {}
    for each in hidden_matrices(shape):
        groups[each.rows, each.columns] = groups.get((each.rows, each.columns), 0) + each.count
    return groups


def _none(name: str) -> Quantity:
    return derived(name, 0, _UNIT, "")
