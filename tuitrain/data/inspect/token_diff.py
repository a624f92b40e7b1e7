"""What serving sends to the model beside what training showed it, token by token: the template that differs is found here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, Literal

from tuitrain.data.inspect.token_view import DecodeOne, Ints
from tuitrain.data.inspect.visible import visible_pieces

Change = Literal["equal", "replace", "delete", "insert"]
_EXACT_TOKENS = 2000
"""Longer middles are aligned without their most frequent tokens: difflib takes quadratic time on them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffRow:
    """One place of the alignment. `delete`: only serving has the token; `insert`: only training has."""

    change: Change
    serving_index: int | None
    serving_id: int | None
    serving_text: str
    training_index: int | None
    training_id: int | None
    training_text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenDiff:
    """Every token of both, aligned."""

    identical: bool
    common_prefix: int
    """Tokens before the first difference, which is the index of it on both sides."""
    serving_tokens: int
    training_tokens: int
    rows: tuple[DiffRow, ...]

    @property
    def first_difference(self) -> DiffRow | None:
        """The first row that is not equal."""
        return next((row for row in self.rows if row.change != "equal"), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        first = self.first_difference
        return asdict(self) | {"rows": [asdict(row) for row in self.rows], "first_difference": asdict(first) if first else None}


def diff_tokens(serving_ids: Ints, training_ids: Ints, decode_one: DecodeOne | None = None) -> TokenDiff:
    """Align two sequences of ids; without `decode_one` the texts stay empty."""
    serving, training = [int(token) for token in serving_ids], [int(token) for token in training_ids]
    prefix = _common(serving, training)
    suffix = _common(serving[prefix:][::-1], training[prefix:][::-1])
    middle_a, middle_b = serving[prefix : len(serving) - suffix], training[prefix : len(training) - suffix]
    autojunk = max(len(middle_a), len(middle_b)) > _EXACT_TOKENS
    codes = [
        (change, start + prefix, stop + prefix, start_b + prefix, stop_b + prefix)
        for change, start, stop, start_b, stop_b in SequenceMatcher(None, middle_a, middle_b, autojunk).get_opcodes()
    ]
    ends = len(serving) - suffix, len(serving), len(training) - suffix, len(training)
    texts_a, texts_b = _texts(serving, decode_one), _texts(training, decode_one)
    rows: list[DiffRow] = []
    for change, start, stop, start_b, stop_b in [("equal", 0, prefix, 0, prefix), *codes, ("equal", *ends)]:
        for place, place_b in zip_longest(range(start, stop), range(start_b, stop_b)):
            name: Change = "insert" if place is None else "delete" if place_b is None else "equal"
            rows.append(
                DiffRow(
                    change="replace" if name == "equal" and change == "replace" else name,
                    serving_index=place,
                    serving_id=None if place is None else serving[place],
                    serving_text="" if place is None else texts_a[place],
                    training_index=place_b,
                    training_id=None if place_b is None else training[place_b],
                    training_text="" if place_b is None else texts_b[place_b],
                )
            )
    return TokenDiff(
        identical=serving == training, common_prefix=prefix, serving_tokens=len(serving), training_tokens=len(training),
        rows=tuple(rows),
    )  # fmt: skip


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _texts(ids: Sequence[int], decode_one: DecodeOne | None) -> list[str]:
    """In one line each, spaces marked: a difference in white space is the most frequent one."""
    if decode_one is None:
        return [""] * len(ids)
    return visible_pieces([decode_one(token) or f"<{token}>" for token in ids], spaces=True, lines=False)
