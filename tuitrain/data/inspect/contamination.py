"""How much of the evaluation text stands in the training text: the share of each item's word n-grams that were found there.

The method is appendix C of Brown et al. 2020 (GPT-3, https://arxiv.org/abs/2005.14165): case, punctuation and white space do
not count, N lies between 8 words (below, chance meetings are common) and 13, and an item with any N-gram in the training text
is "dirty". There N is the 5th percentile of a data set's lengths; here each item has its own: 13, or 8 where it has fewer than
13 words. Items below 8 words are compared whole, with training texts that are as short. Chowdhery et al. 2022 (PaLM,
https://arxiv.org/abs/2204.02311, section 8) call an item contaminated from 70 % of its n-grams on: `mostly`.

A share says that the words are there, not why: a system prompt or a license text repeated in every item is no leak. Leave such
text out of what is passed in. Only the evaluation side is kept (16 bytes per n-gram); the training text is streamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from tuitrain.data.inspect.words import Hashes, ngram_hashes, word_hashes

LONG, SHORT = 13, 8
MOSTLY: Final = 0.7
NAMED: Final = 5
"""Training places named per item, and NAMED_ITEMS items in `to_dict`; counts are complete."""
NAMED_ITEMS: Final = 50
_WHOLE: Final = 0
"""Stands for the n of items below SHORT words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContaminatedItem:
    """An evaluation item some of whose n-grams are in the training text."""

    where: str
    words: int
    n: int
    """Words of the n-grams it was judged by; all its words when it is shorter than 8."""
    ngrams: int
    found: int
    share: float
    """found / ngrams, 0 to 1."""
    places: tuple[str, ...]
    """Training texts that hold most of them; each n-gram counts where it was met first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContaminationReport:
    """What was found, the largest share first. Items without any n-gram in training are only counted."""

    items: tuple[ContaminatedItem, ...]
    evaluated: int
    """Evaluation items that have words."""
    training_texts: int

    @property
    def mostly(self) -> int:
        """Items of which at least MOSTLY stands in the training text."""
        return sum(item.share >= MOSTLY for item in self.items)

    @property
    def clean(self) -> int:
        """Items without any n-gram in the training text."""
        return self.evaluated - len(self.items)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "evaluated": self.evaluated, "training_texts": self.training_texts,
            "clean": self.clean, "dirty": len(self.items), "mostly": self.mostly, "mostly_share": MOSTLY,
            "items": [asdict(item) | {"places": list(item.places)} for item in self.items[:NAMED_ITEMS]],
        }  # fmt: skip


def find_contamination(training: Iterable[tuple[str, str]], evaluation: Iterable[tuple[str, str]]) -> ContaminationReport:
    """Both sides are (where, text); training is read once, after all of evaluation."""
    items: list[tuple[str, int, int, int, int]] = []  # where, words, n, first and last n-gram
    hashes: dict[int, list[Hashes]] = {LONG: [], SHORT: [], _WHOLE: []}
    sizes = dict.fromkeys(hashes, 0)
    for where, text in evaluation:
        words = word_hashes(text)
        n = LONG if len(words) >= LONG else SHORT if len(words) >= SHORT else _WHOLE
        found = ngram_hashes(words, n or len(words))
        if len(found):
            hashes[n].append(found)
            items.append((where, len(words), n, sizes[n], sizes[n] + len(found)))
            sizes[n] += len(found)
    tables = {n: _Table(parts) for n, parts in hashes.items() if parts}
    hashes.clear()

    places: list[str] = []
    seen = 0
    for where, text in training:
        seen += 1
        words = word_hashes(text)
        hit = False
        for n, table in tables.items():
            if n or len(words) < SHORT:
                hit |= table.mark(ngram_hashes(words, n or len(words)), len(places))
        if hit:
            places.append(where)
    judged = (_judge(tables[item[2]], item, places) for item in items)
    dirty = sorted((item for item in judged if item.found), key=lambda item: -item.share)
    return ContaminationReport(items=tuple(dirty), evaluated=len(items), training_texts=seen)


class _Table:
    """The n-grams of one length: which of them were met, and where first (-1: nowhere)."""

    def __init__(self, parts: Sequence[Hashes]) -> None:
        keys, inverse = np.unique(np.concatenate(parts), return_inverse=True)
        self.keys, self.slots = keys, inverse.astype(np.uint32)
        self.place = np.full(len(keys), -1, np.int32)

    def mark(self, hashes: Hashes, place: int) -> bool:
        """Note that a training text holds these; whether any was new."""
        slots = np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)
        hits = slots[self.keys[slots] == hashes]
        new = hits[self.place[hits] < 0]
        self.place[new] = place
        return len(new) > 0


def _judge(table: _Table, item: tuple[str, int, int, int, int], places: Sequence[str]) -> ContaminatedItem:
    where, words, n, start, stop = item
    met = table.place[table.slots[start:stop]]
    met = met[met >= 0]
    first = Counter(met.tolist()).most_common(NAMED)
    return ContaminatedItem(
        where=where, words=words, n=n or words, ngrams=stop - start, found=len(met), share=len(met) / (stop - start),
        places=tuple(places[place] for place, _ in first),
    )  # fmt: skip
