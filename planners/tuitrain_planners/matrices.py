"""The matrices inside the layers of a shape, one list for all that walks them: counts, products, adapters, Muon's groups.

Letters beyond the common ones: L_e layers with experts, L_d layers without, E experts of a layer, e experts a token visits,
f_e and f_s inner widths of one expert and of the shared ones, r_q and r_kv ranks of compressed queries and keys, d_n, d_r, d_v
head widths of latent attention (not rotated, rotated, value).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from tuitrain_planners.quantity import Quantity, derived
from tuitrain_planners.shapes import ModelShape

_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """Equal matrices of all layers."""

    block: str
    """queries | keys and values | relative positions | attention output | ffn | router | routed experts | shared experts."""
    target: str
    """What an adapter calls it (q, k, v, o, gate, up, down); empty: never adapted."""
    rows: int
    columns: int
    size: str
    """rows * columns in letters."""
    count: int
    """How many there are in all layers together."""
    number: str
    """`count` in letters."""
    used: int
    """How many of them one token passes through."""
    used_number: str
    """`used` in letters."""

    @property
    def entries(self) -> int:
        """Parameters of all of them together."""
        return self.count * self.rows * self.columns


@lru_cache(maxsize=512)
def hidden_matrices(shape: ModelShape) -> tuple[Matrix, ...]:
    """Every matrix of the layers, in the order of the forward pass. Fused ones (phi3, gpt2) are listed apart."""
    attention = _attention(shape) if shape.latent is None else _latent_attention(shape)
    return (*attention, *_feed_forward(shape))


def _attention(shape: ModelShape) -> tuple[Matrix, ...]:
    h, q, kv, layers = shape.hidden_size, shape.query_size, shape.kv_size, (shape.num_layers, "L")
    rows = [
        _matrix("queries", "q", (q, h), "h * a * d", layers),
        _matrix("keys and values", "k", (kv, h), "h * k * d", layers),
        _matrix("keys and values", "v", (kv, h), "h * k * d", layers),
        _matrix("attention output", "o", (h, q), "h * a * d", layers),
    ]
    if shape.relative_positions:
        rows.append(_matrix("relative positions", "", (q, h), "h * a * d", layers))
    return tuple(rows)


def _latent_attention(shape: ModelShape) -> tuple[Matrix, ...]:
    latent, h, a, layers = shape.latent, shape.hidden_size, shape.num_heads, (shape.num_layers, "L")
    assert latent is not None
    q, kv = a * (latent.nope_head_dim + latent.rope_head_dim), a * (latent.nope_head_dim + latent.value_head_dim)
    rank, shared = latent.q_rank, latent.kv_rank + latent.rope_head_dim
    queries = (
        (_matrix("queries", "q", (q, h), "h * a * (d_n + d_r)", layers),)
        if rank is None
        else (
            _matrix("queries", "q", (rank, h), "h * r_q", layers),
            _matrix("queries", "q", (q, rank), "r_q * a * (d_n + d_r)", layers),
        )
    )
    return (
        *queries,
        _matrix("keys and values", "k", (shared, h), "h * (r_kv + d_r)", layers),
        _matrix("keys and values", "v", (kv, latent.kv_rank), "r_kv * a * (d_n + d_v)", layers),
        _matrix("attention output", "o", (h, a * latent.value_head_dim), "a * d_v * h", layers),
    )


def _feed_forward(shape: ModelShape) -> tuple[Matrix, ...]:
    h, experts = shape.hidden_size, shape.experts
    if experts is None:
        return _mlp(shape, "ffn", shape.ffn_size, "f", (shape.num_layers, "L"))
    moe, dense = shape.num_moe_layers, experts.first_dense_layers
    rows = list(_mlp(shape, "ffn", shape.ffn_size, "f", (dense, "L_d"))) if dense else []
    rows.append(_matrix("router", "", (experts.num, h), "h * E", (moe, "L_e")))
    routed, visited = (moe * experts.num, "L_e * E"), (moe * experts.per_token, "L_e * e")
    rows.extend(_mlp(shape, "routed experts", experts.ffn_size, "f_e", routed, visited))
    if experts.shared_ffn_size:
        rows.extend(_mlp(shape, "shared experts", experts.shared_ffn_size, "f_s", (moe, "L_e")))
    return tuple(rows)


def _mlp(
    shape: ModelShape, block: str, width: int, letter: str, number: tuple[int, str], used: tuple[int, str] | None = None
) -> tuple[Matrix, ...]:
    h, size = shape.hidden_size, f"h * {letter}"
    ups = ("gate", "up") if shape.gated_ffn else ("up",)
    return (
        *(_matrix(block, up, (width, h), size, number, used) for up in ups),
        _matrix(block, "down", (h, width), size, number, used),
    )


def _matrix(
    block: str, target: str, sides: tuple[int, int], size: str, number: tuple[int, str], used: tuple[int, str] | None = None
) -> Matrix:
    used = used or number
    return Matrix(
        block=block, target=target, rows=sides[0], columns=sides[1], size=size,
        count=number[0], number=number[1], used=used[0], used_number=used[1],
    )  # fmt: skip


def symbols(shape: ModelShape) -> dict[str, int]:
    """The letters of the formulas with this shape's values."""
    values = {
        "V": shape.vocab_size, "h": shape.hidden_size, "L": shape.num_layers, "a": shape.num_heads, "k": shape.num_kv_heads,
        "d": shape.head_dim, "f": shape.ffn_size, "s_max": shape.max_seq_len,
    }  # fmt: skip
    if (experts := shape.experts) is not None:
        values |= {
            "L_e": shape.num_moe_layers, "L_d": experts.first_dense_layers, "E": experts.num, "e": experts.per_token,
            "f_e": experts.ffn_size, "f_s": experts.shared_ffn_size,
        }  # fmt: skip
    if (latent := shape.latent) is not None:
        values |= {
            "r_kv": latent.kv_rank, "d_n": latent.nope_head_dim, "d_r": latent.rope_head_dim, "d_v": latent.value_head_dim,
        }  # fmt: skip
        values |= {} if latent.q_rank is None else {"r_q": latent.q_rank}
    return values


def sum_of_sizes(matrices: Iterable[Matrix], *, used: bool = False) -> str:
    """Their entries in letters, equal products gathered: `L * 2 * h * a * d + L * 2 * h * k * d`."""
    times: dict[tuple[str, str], int] = {}
    for each in matrices:
        key = (each.used_number if used else each.number, each.size)
        times[key] = times.get(key, 0) + 1
    return " + ".join(f"{number} * {n} * {size}" if n > 1 else f"{number} * {size}" for (number, size), n in times.items())


def of_shape(
    name: str, value: float, unit: str, formula: str, source: str, shape: ModelShape, **more: Quantity | float
) -> Quantity:
    """`derived` with the letters of the formula filled in from the shape; `more` adds others."""
    values = symbols(shape)
    used = {
        letter: values[letter] for letter in dict.fromkeys(_SYMBOL.findall(formula)) if letter in values and letter not in more
    }
    return derived(name, value, unit, formula, source, **used, **more)
