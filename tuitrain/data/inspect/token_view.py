"""What the model sees of a sequence, token by token: which are trained, ignored, special, padding or cut off, and where
documents and packs begin. Draws nothing: the interface, the command line and `html` colour these spans each in their way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.batch import PADDING_DOCUMENT
from tuitrain.data.inspect.visible import CONTINUED, visible_pieces

Kind = Literal["trained", "ignored", "special-trained", "special-ignored", "pad", "truncated"]
KINDS: Final[tuple[Kind, ...]] = ("trained", "ignored", "special-trained", "special-ignored", "pad", "truncated")
Border = Literal["document", "pack"]
Ints = Sequence[int] | NDArray[np.integer[Any]]
DecodeOne = Callable[[int], str | bytes]
"""The text of one id. Its bytes, or text with surrogate escapes, where a token may end inside a character; a special token's
name. Nothing is shown as `<id>`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSpan:
    """One token. Its text can be shown as it is."""

    text: str
    kind: Kind
    id: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Boundary:
    """Before the span of this index a document or a pack begins; where both do, it is a pack."""

    index: int
    kind: Border


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRun:
    """Neighbours of one kind between two boundaries."""

    text: str
    kind: Kind
    start: int
    count: int
    border: Border | None
    """What begins with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenView:
    """A sequence, or several packs one after the other."""

    spans: tuple[TokenSpan, ...]
    boundaries: tuple[Boundary, ...]

    def runs(self) -> Iterator[TokenRun]:
        """Neighbours of one kind as one text."""
        borders = {boundary.index: boundary.kind for boundary in self.boundaries}
        kinds = [span.kind for span in self.spans]
        for start, stop in _stretches(kinds, borders):
            text = "".join(span.text for span in self.spans[start:stop] if span.text != CONTINUED)
            yield TokenRun(text=text, kind=kinds[start], start=start, count=stop - start, border=borders.get(start))

    def counts(self) -> dict[Kind, int]:
        """Tokens of each kind that occurs."""
        kinds = [span.kind for span in self.spans]
        return {kind: kinds.count(kind) for kind in KINDS if kind in kinds}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a span is `[text, kind, id]`, for there are many."""
        return {
            "spans": [[span.text, span.kind, span.id] for span in self.spans],
            "boundaries": [asdict(boundary) for boundary in self.boundaries],
        }


def view_tokens(
    ids: Ints,
    trained: Sequence[bool] | NDArray[np.bool_],
    decode_one: DecodeOne,
    *,
    documents: Ints | None = None,
    packs: Ints | None = None,
    special_ids: Collection[int] = (),
    kept: int | None = None,
) -> TokenView:
    """The view of ids, of which `trained` says what the loss counts (the token itself, not its predecessor).

    `documents` numbers the document of each token, PADDING_DOCUMENT in padding; `packs` the pack. Tokens from `kept` on are
    those that the sequence length cuts off.
    """
    given = [each for each in (trained, documents, packs) if each is not None]
    assert all(len(each) == len(ids) for each in given), f"{len(ids)} ids, but {[len(each) for each in given]} marks for them"
    kept = len(ids) if kept is None else kept

    def kind_of(place: int, token: int) -> Kind:
        if place >= kept:
            return "truncated"
        if documents is not None and documents[place] == PADDING_DOCUMENT:
            return "pad"
        if token in special_ids:
            return "special-trained" if trained[place] else "special-ignored"
        return "trained" if trained[place] else "ignored"

    tokens = [int(token) for token in ids]
    kinds = [kind_of(place, token) for place, token in enumerate(tokens)]
    borders = _borders(documents, packs)
    pieces = {token: decode_one(token) or f"<{token}>" for token in set(tokens)}
    texts: list[str] = []
    for start, stop in _stretches(kinds, borders):  # a character broken by a border or a change of kind shows its bytes
        texts += visible_pieces([pieces[token] for token in tokens[start:stop]])
    return TokenView(
        spans=tuple(
            TokenSpan(text=text, kind=kind, id=token) for text, kind, token in zip(texts, kinds, tokens, strict=True)
        ),
        boundaries=tuple(Boundary(index=index, kind=kind) for index, kind in sorted(borders.items())),
    )  # fmt: skip


def _borders(documents: Ints | None, packs: Ints | None) -> dict[int, Border]:
    borders: dict[int, Border] = {}
    if documents is not None:
        starts = (place for place in _changes(documents) if documents[place] != PADDING_DOCUMENT)  # padding is no document
        borders |= dict.fromkeys(starts, "document")
    if packs is not None:
        borders |= dict.fromkeys(_changes(packs), "pack")
    return borders


def _changes(numbers: Ints) -> list[int]:
    return [place for place in range(len(numbers)) if place == 0 or numbers[place] != numbers[place - 1]]


def _stretches(kinds: Sequence[Kind], borders: Collection[int]) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of one kind that no border cuts."""
    start = 0
    for place in range(1, len(kinds) + 1):
        if place == len(kinds) or place in borders or kinds[place] != kinds[place - 1]:
            yield start, place
            start = place
