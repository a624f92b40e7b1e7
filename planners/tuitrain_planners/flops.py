"""FLOP per token of training (forward and backward), in named conventions.

Published utilisations differ by up to 29 % for one and the same run because they count differently, so every figure here
carries its convention:

    6n               6 N, all parameters a token uses (Hoffmann et al. 2022; of a mixture the active ones). No attention; counts
                     the embedding lookup as a product.
    6n_nonembedding  6 (N - N_embedding) (Kaplan et al. 2020; transformers `total_flos`). No attention; with tied embeddings
                     the head's product is lost too.
    causal           every matrix product, attention at half (Megatron-LM since 2024): what a causal kernel computes.
    full             every matrix product, attention over the whole s x s square (PaLM appendix B; torchtitan, NeMo).
    with_recompute   `causal`, and each layer's forward once more (Korthikanti et al. 2022, section 5: hardware FLOP).
                     llm-analysis counts the head again too (+ 2 %).

A product of [m, k] and [k, n] is 2 m k n; backward is twice forward. Not counted: norms, softmax, rotations, the optimizer
(below 1 % at s = 8192). Known error of `causal`: kernels work in blocks, so they compute a little more than half.
Windows and packed documents: `attention.py`.

With an adapter (LoRA, Hu et al. 2021) matrices are frozen: forward and the gradient of the input, none of the weight,
so 4 instead of 6 per parameter; the adapters' own parameters 6; attention as ever. Left in: the input gradient below the lowest
adapter (of q, k and v in the first layer), which peft computes too when it checkpoints layers - 1 of L layers, below 2 %.
`transformers` prints 6 (N - N_embedding) even then.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.attention import attention_pairs_per_token
from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.matrices import Matrix, hidden_matrices, of_shape, sum_of_sizes
from tuitrain_planners.parameters import active_parameters, adapter_parameters, embedding_parameters
from tuitrain_planners.quantity import Quantity, derived, total
from tuitrain_planners.shapes import ModelShape

CONVENTIONS: Final = ("6n", "6n_nonembedding", "causal", "full", "with_recompute")
DEFAULT_CONVENTION: Final = "causal"
RECOMPUTE: Final = ("none", "selective", "full")
_UNIT: Final = "FLOP/token"
_FROZEN: Final = 2
"""Passes over a frozen matrix: forward and the gradient of its input. A trained one has the gradient of its weight too."""


def flop_per_token(
    shape: ModelShape,
    seq_len: int,
    convention: str = DEFAULT_CONVENTION,
    *,
    document_lengths: Sequence[int] | None = None,
    adapter: Adapter | None = None,
) -> Quantity:
    """Forward and backward of one token, in the named convention.

    `document_lengths`: documents packed into the sequences, which do not attend to each other. `adapter`: only it is trained.
    """
    if convention not in CONVENTIONS:
        raise unknown_name("FLOP convention", convention, CONVENTIONS)
    if seq_len < 1:
        raise PlanError(f"seq_len is {seq_len}", "a sequence has at least one token")
    if convention in ("6n", "6n_nonembedding"):
        return _by_parameters(shape, convention, adapter)
    if convention == "with_recompute":
        return executed_flop_per_token(shape, seq_len, "full", document_lengths=document_lengths, adapter=adapter)
    source = "megatron2021" if convention == "causal" else "palm2022"
    documents = None if document_lengths is None else tuple(document_lengths)
    terms = _products(shape, seq_len, convention, documents, adapter)
    return total(f"FLOP per token ({convention})", terms, source=source)


def _by_parameters(shape: ModelShape, convention: str, adapter: Adapter | None) -> Quantity:
    name, n = f"FLOP per token ({convention})", active_parameters(shape)
    each, value = ("4" if adapter else "6"), n.value
    inputs: dict[str, Quantity | float] = {"N": n}
    if convention == "6n":
        formula, source = f"{each} * N", "chinchilla"
    else:
        embedding = embedding_parameters(shape)
        formula, source, value = f"{each} * (N - N_embedding)", "kaplan2020", value - embedding.value
        inputs["N_embedding"] = embedding
    value *= int(each)
    if adapter is not None:
        trained = adapter_parameters(shape, adapter)
        formula, value, source = f"{formula} + 6 * N_adapter", value + 6 * trained.value, "hu2021"
        inputs["N_adapter"] = trained
    return derived(name, value, _UNIT, formula, source, **inputs)


def executed_flop_per_token(
    shape: ModelShape,
    seq_len: int,
    recompute: str,
    convention: str = DEFAULT_CONVENTION,
    *,
    document_lengths: Sequence[int] | None = None,
    adapter: Adapter | None = None,
) -> Quantity:
    """What the device computes: the matrix products of `convention` and, under full recomputation, each layer's forward
    again. Selective recomputation keeps the products' results, so it repeats none of them."""
    if recompute not in RECOMPUTE:
        raise unknown_name("recompute mode", recompute, RECOMPUTE)
    base = flop_per_token(shape, seq_len, convention, document_lengths=document_lengths, adapter=adapter)
    if recompute != "full":
        return base
    if not base.terms:
        raise PlanError(f"recomputation is not counted in the convention {convention!r}", "use causal or full")
    layers = [each for each in base.terms if each.name not in ("head", "adapters of head")]
    kept = [each for each in layers if adapter is None or each.name in ("attention", "adapters")]
    frozen = [each for each in layers if adapter is not None and each.name not in ("attention", "adapters")]
    trained = total("layers", kept)
    # Forward is a third of forward and backward; half of it where no weight has a gradient.
    formula, value, inputs = "layers / 3", trained.value / 3, {"layers": trained}
    if frozen:
        still = inputs["frozen"] = total("frozen matrices of the layers", frozen)
        formula, value = "layers / 3 + frozen / 2", value + still.value / _FROZEN
    again = derived("layers forward again", value, _UNIT, formula, "korthikanti2022", **inputs)
    return total("FLOP per token (with recompute)", (*base.terms, again), source="korthikanti2022")


def with_reference(
    flop: Quantity, shape: ModelShape, seq_len: int, convention: str, *, adapter: Adapter | None = None
) -> Quantity:
    """The same and the forward pass of a frozen reference model over each token (Rafailov et al. 2023, equation 7)."""
    whole = flop_per_token(shape, seq_len, convention)
    forward = derived("the reference's forward", whole.value / 3, _UNIT, "whole / 3", "dpo2023", whole=whole)
    name = "FLOP per token, with the reference" + (" under adapters" if adapter is not None else "")
    return total(name, (flop, forward), source="dpo2023")


def by_convention(shape: ModelShape, seq_len: int, *, adapter: Adapter | None = None) -> dict[str, Quantity]:
    """All conventions side by side."""
    return {convention: flop_per_token(shape, seq_len, convention, adapter=adapter) for convention in CONVENTIONS}


@lru_cache(maxsize=64)
def _products(
    shape: ModelShape, seq_len: int, convention: str, documents: tuple[int, ...] | None, adapter: Adapter | None
) -> tuple[Quantity, ...]:
    """The list of matrix products over all passes, summed over the layers: passes x forward."""
    passes = 3 if adapter is None else _FROZEN
    blocks: dict[str, list[Matrix]] = {}
    for each in hidden_matrices(shape):
        blocks.setdefault(each.block, []).append(each)
    rows = [_block(shape, name, matrices, passes) for name, matrices in blocks.items()]
    rows.insert(2, _attention(shape, seq_len, convention, documents))
    head = passes * 2 * shape.hidden_size * shape.vocab_size
    rows.append(of_shape("head", head, _UNIT, f"{passes} * 2 * h * V", "definition", shape))
    if adapter is not None:
        rows.extend(_adapter_products(shape, adapter))
    return tuple(rows)


def _block(shape: ModelShape, name: str, matrices: list[Matrix], passes: int) -> Quantity:
    value = sum(each.used * each.rows * each.columns for each in matrices)
    inner = sum_of_sizes(matrices, used=True)
    experts = shape.experts
    if name == "shared experts" and experts is not None and experts.shared_gate:
        inner, value = f"{inner} + L_e * h", value + shape.num_moe_layers * shape.hidden_size
    inner = f"({inner})" if " + " in inner else inner
    source = "fedus2021" if name in ("router", "routed experts") else "definition"
    return of_shape(name, passes * 2 * value, _UNIT, f"{passes} * 2 * {inner}", source, shape)


def _attention(shape: ModelShape, seq_len: int, convention: str, documents: Sequence[int] | None) -> Quantity:
    """Scores q k^T and their product with v over the keys each token meets, forward and twice backward."""
    window = shape.window
    if shape.latent is not None:
        widths, width = shape.num_heads * (shape.head_dim + shape.latent.value_head_dim), "a * (d_n + d_r + d_v)"
    elif shape.relative_positions:  # have scores of their own (Dai et al. 2019, section 3.3)
        widths, width = 3 * shape.query_size, "3 * a * d"
    else:
        widths, width = 2 * shape.query_size, "2 * a * d"
    p = attention_pairs_per_token(seq_len, convention, document_lengths=documents)
    if window is None or window.size >= seq_len:
        value = _whole(3 * 2 * shape.num_layers * p.value * widths)
        return of_shape("attention", value, _UNIT, f"3 * 2 * L * p * {width}", "definition", shape, p=p)
    p_w = attention_pairs_per_token(seq_len, convention, window=window.size, document_lengths=documents)
    keys = (shape.num_layers - window.num_layers) * p.value + window.num_layers * p_w.value
    formula = f"3 * 2 * ((L - L_w) * p + L_w * p_w) * {width}"
    value = _whole(3 * 2 * keys * widths)
    return of_shape("attention", value, _UNIT, formula, "beltagy2020", shape, p=p, p_w=p_w, L_w=window.num_layers)


def _adapter_products(shape: ModelShape, adapter: Adapter) -> list[Quantity]:
    """Six per parameter of the adapters a token passes through: of routed experts, those it visits."""
    adapter_parameters(shape, adapter)  # refuses targets the shape has none of
    matrices = [each for each in hidden_matrices(shape) if each.target in adapter.targets]
    rows = []
    if sides := sum(each.used * (each.rows + each.columns) for each in matrices):
        rows.append(
            derived("adapters", 6 * adapter.rank * sides, _UNIT, "6 * r * sides", "hu2021", r=adapter.rank, sides=sides)
        )
    if "head" in adapter.targets:
        value = 6 * adapter.rank * (shape.vocab_size + shape.hidden_size)
        rows.append(of_shape("adapters of head", value, _UNIT, "6 * r * (V + h)", "hu2021", shape, r=adapter.rank))
    return rows


def _whole(value: float) -> float:
    return int(value) if float(value).is_integer() else value
