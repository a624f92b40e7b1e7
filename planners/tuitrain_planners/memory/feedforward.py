"""What the feed-forward keeps of one layer, per token; with experts the router, the dispatch and the visited ones too."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from tuitrain_planners.quantity import Quantity, derived

if TYPE_CHECKING:
    from tuitrain_planners.memory.layer import Layer


def ffn_terms(
    layer: Layer, width: int | None = None, name: str = "feed-forward", entry_bytes: int | None = None
) -> tuple[Quantity, ...]:
    """Four f-wide tensors gated, two otherwise; what only a frozen matrix would read is not kept. `entry_bytes`: of all of
    them, where that is not the layer's."""
    f = layer.shape.ffn_size
    width = f if width is None else width
    if not width:
        return ()
    inner, product, wide, c = layer.ffn_inner(), layer.ffn_product(), layer.ffn_bytes, layer.c
    if entry_bytes not in (None, c):
        value = (inner + product) * width * entry_bytes
        return (layer.term(name, value, f"{inner + product} * {width} * {entry_bytes}", ""),)
    letter = "f" if width == f else f"{width}"
    value = width * (inner * wide + product * c)
    formula = f"{inner + product} * {letter} * c" if wide == c else f"({inner} * {wide} + {product} * c) * {letter}"
    return (layer.term(name, value, formula, "fc" if letter == "f" else "c"),)


def expert_terms(layer: Layer) -> tuple[Quantity, ...]:
    """Router, dispatched copies of the hidden state, the visited experts' feed-forward, the shared one.

    Per visit the router keeps indices (four of 8 bytes) and weights (two of 4), and 4 bytes for their sum. With a correction
    per expert it computes in 32 bits from a copy of its input and keeps a mask of the experts chosen from (DeepSeek-V3).
    Autocast leaves grouped products alone: experts compute in the type of the stream, and no copies of their weights are made
    (torch 2.13, autocast on a CPU).
    """
    parts = layer.shape.experts
    assert parts is not None
    h, c, visits = layer.shape.hidden_size, layer.c, parts.per_token
    trained = "feed-forward" in layer.adapted.originals
    e = max(c, layer.stream_bytes)
    wide = 4 * h if parts.router_bias and not layer.frozen and e < 4 else 0
    each = 5 if parts.router_bias else 4
    router = wide + each * parts.num + 40 * visits + 4
    copies = 1 + trained
    terms = [
        layer.term("router", router, f"{wide} + {each} * {parts.num} + 40 * {visits} + 4", "", "shazeer2017"),
        _uneven(
            layer,
            layer.term(
                "dispatched tokens and their results",
                copies * visits * h * e,
                f"{copies} * {visits} * h * {e}",
                "h",
                "shazeer2017",
            ),
        ),
        *(_uneven(layer, each) for each in ffn_terms(layer, visits * parts.ffn_size, "visited experts", e)),
        *ffn_terms(layer, parts.shared_ffn_size, "shared experts"),
    ]
    if parts.shared_gate:
        terms.append(layer.term("gate of shared experts", (h + 1) * c, "(h + 1) * c", "hc", "shazeer2017"))
    return tuple(terms)


def _uneven(layer: Layer, even: Quantity) -> Quantity:
    """A term of visited experts on the device whose experts are visited most."""
    if layer.work.imbalance == 1:
        return even
    value = ceil(even.value * layer.work.imbalance)
    return derived(even.name, value, "bytes", "ceil(even * imbalance)", "fedus2021", even=even, imbalance=layer.work.imbalance)
