"""How long the examples are in tokens, how much of them is trained, and how their turns are ordered. Draws nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ints = Sequence[int] | NDArray[np.integer[Any]]

PERCENTILES: Final = (5, 25, 50, 75, 90, 95, 99)
MAX_BINS: Final = 20
_WIDE: Final = 16
"""Bins grow with the length where the 95th percentile is this many times the 5th: linear ones would leave most empty."""
NAMED_ORDERS: Final = 50
_LONGEST_ORDER: Final = 12
"""Turns an order is written out to; longer ones end in an ellipsis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """Examples of `low` to `high` tokens, both included."""

    low: int
    high: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthReport:
    """Counts of tokens are of examples as they are, before anything is cut off."""

    examples: int
    tokens: int
    trained_tokens: int
    shortest: int
    longest: int
    percentiles: dict[int, int]
    """Length of the example that this share (in percent) of the examples does not exceed."""
    bins: tuple[Bin, ...]
    limit: int | None
    """The longest sequence that is trained, where there is one."""
    over_limit: int
    """Examples longer than it."""
    role_orders: dict[str, int]
    """`system user assistant` and how many examples have it, the most frequent first."""
    other_orders: int
    """Examples of orders beyond the first NAMED_ORDERS."""
    turns: dict[int, int]
    """Number of turns and how many examples have it."""

    @property
    def trained_share(self) -> float:
        """Trained tokens among all, 0 to 1."""
        return self.trained_tokens / self.tokens if self.tokens else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; numbers that are keys become text."""
        numbered = {"percentiles": _text_keys(self.percentiles), "turns": _text_keys(self.turns)}
        return asdict(self) | {"trained_share": self.trained_share, "bins": [asdict(each) for each in self.bins], **numbered}


def measure_lengths(
    lengths: Ints, trained: Ints, roles: Iterable[Sequence[str]] = (), *, limit: int | None = None
) -> LengthReport:
    """Of each example its tokens, how many of them are trained, and the roles of its turns."""
    assert len(lengths) == len(trained), f"{len(lengths)} lengths but {len(trained)} counts of trained tokens"
    sizes = np.asarray(lengths, np.int64)
    levels = np.percentile(sizes, PERCENTILES, method="inverted_cdf").tolist() if len(sizes) else []
    orders: Counter[str] = Counter()
    turns: Counter[int] = Counter()
    for each in roles:
        orders[" ".join(each[:_LONGEST_ORDER]) + (" ..." if len(each) > _LONGEST_ORDER else "")] += 1
        turns[len(each)] += 1
    named = orders.most_common(NAMED_ORDERS)
    return LengthReport(
        examples=len(sizes), tokens=int(sizes.sum()), trained_tokens=int(np.sum(trained, dtype=np.int64)),
        shortest=int(sizes.min()) if len(sizes) else 0, longest=int(sizes.max(initial=0)),
        percentiles={percent: int(level) for percent, level in zip(PERCENTILES, levels, strict=False)},
        bins=make_bins(sizes), limit=limit, over_limit=0 if limit is None else int((sizes > limit).sum()),
        role_orders=dict(named), other_orders=orders.total() - sum(count for _, count in named),
        turns=dict(sorted(turns.items())),
    )  # fmt: skip


def make_bins(sizes: NDArray[np.int64]) -> tuple[Bin, ...]:
    """At most MAX_BINS bins without gaps from the shortest to the longest, of round widths: equal ones, or ever wider ones."""
    if not len(sizes):
        return ()
    low, high = (int(level) for level in np.percentile(sizes, (5, 95), method="inverted_cdf"))
    shortest, longest = int(sizes.min()), int(sizes.max())
    wide = high >= _WIDE * max(low, 1) or longest >= _WIDE * max(high, 1)
    edges = _widening_edges(shortest, longest) if wide else _even_edges(shortest, longest)
    counts, _ = np.histogram(sizes, edges)
    return tuple(
        Bin(low=first, high=after - 1, count=int(count)) for first, after, count in zip(edges, edges[1:], counts, strict=False)
    )


def _even_edges(shortest: int, longest: int) -> list[int]:
    scale = 1
    while True:
        for width in (scale, 2 * scale, 5 * scale):
            first = shortest // width
            count = longest // width - first + 1
            if count <= MAX_BINS:
                return [width * (first + place) for place in range(count + 1)]
        scale *= 10


def _widening_edges(shortest: int, longest: int) -> list[int]:
    """0, then powers of two and one and a half times each, powers of two, of four, or of sixteen: the finest that are few."""
    finest = sorted({part << power for power in range(61) for part in (1, 3)})
    for ladder in (finest, *([1 << power for power in range(0, 61, step)] for step in (1, 2, 4))):
        edges = [0, *ladder]
        start = max(place for place, edge in enumerate(edges) if edge <= shortest)
        stop = min(place for place, edge in enumerate(edges) if edge > longest)
        if stop - start <= MAX_BINS:
            break
    return edges[start : stop + 1]


def _text_keys(counts: dict[int, int]) -> dict[str, int]:
    return {str(key): count for key, count in counts.items()}
