"""How many keys a query meets, on average: causal or whole, within a sliding window, within packed documents.

Conventions, as in `flops.py`: `full` counts the whole square of a sequence, `causal` half of it (the diagonal counts half,
so s / 2 and not (s + 1) / 2). A window of w tokens in n > w leaves n w of the square, and n w - w^2 / 2 of its half: the
triangle of side w at the start, then w for each token (Beltagy et al. 2020; equal to n^2 / 2 at n = w).
Documents packed into one sequence do not see each other: pairs are those of the documents, sum of n^2, over all their tokens.
Padding is not a document: its tokens cost the linear layers and are the caller's to count.
"""

from __future__ import annotations

from collections.abc import Sequence

from tuitrain_planners.errors import PlanError
from tuitrain_planners.quantity import Quantity, derived

_UNIT = "keys/token"


def attention_pairs_per_token(
    seq_len: int, convention: str = "causal", *, window: int | None = None, document_lengths: Sequence[int] | None = None
) -> Quantity:
    """Keys per query in one layer, averaged over the tokens. `convention` is causal or full; `window` of this layer in tokens.

    `document_lengths`: the documents of one packed sequence or of many, each at most `seq_len` long.
    """
    half = 1 if convention == "full" else 2
    name = f"keys per token ({convention}{', window' if window else ''}{', documents' if document_lengths else ''})"
    if document_lengths is not None:
        return _of_documents(name, seq_len, half, window, document_lengths)
    if window is None or window >= seq_len:
        return derived(name, _whole(seq_len / half), _UNIT, "s / 2" if half == 2 else "s", s=seq_len)
    if half == 1:
        return derived(name, window, _UNIT, "min(s, w)", "beltagy2020", s=seq_len, w=window)
    value = window - window * window / (2 * seq_len)
    return derived(name, _whole(value), _UNIT, "w - w ** 2 / (2 * s)", "beltagy2020", s=seq_len, w=window)


def _of_documents(name: str, seq_len: int, half: int, window: int | None, lengths: Sequence[int]) -> Quantity:
    if not lengths or min(lengths) < 1 or max(lengths) > seq_len:
        found = f"{min(lengths)} to {max(lengths)} tokens" if lengths else "none"
        raise PlanError(f"documents of {found} in sequences of {seq_len}", "each has at least 1 token and fits in a sequence")
    tokens, w = sum(lengths), window or seq_len
    short = sum(each * each for each in lengths if each <= w)
    long = [each for each in lengths if each > w]
    inputs = {"squares": short, "tokens": tokens}
    if not long:
        formula = "squares / (2 * tokens)" if half == 2 else "squares / tokens"
        return derived(name, _whole(short / (half * tokens)), _UNIT, formula, **inputs)
    cut = sum(long)
    inputs |= {"long": cut, "w": w}
    if half == 1:
        value = (short + cut * w) / tokens
        return derived(name, _whole(value), _UNIT, "(squares + long * w) / tokens", "beltagy2020", **inputs)
    value = (short / 2 + cut * w - len(long) * w * w / 2) / tokens
    formula = "(squares / 2 + long * w - n * w ** 2 / 2) / tokens"
    return derived(name, _whole(value), _UNIT, formula, "beltagy2020", n=len(long), **inputs)


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value
