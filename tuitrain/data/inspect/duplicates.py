"""Texts that occur more than once: exact copies by hash, near copies by MinHash and banding (`near`, `minhash`).

Exact means the same characters up to Unicode composition and white space. Near means that the sets of 5-word shingles have a
Jaccard similarity of at least the threshold, which is computed, not estimated, for every pair that joins a group; case and
punctuation do not count. A text of fewer than five words has no near copy: there, punctuation is often all the difference
("a + b", "a - b"). Groups are what such pairs connect, so two texts of one group may be less similar than the threshold.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tuitrain.data.inspect.near import NearSearch
from tuitrain.text import clean_line

THRESHOLD: Final = 0.8
NAMED: Final = 5
"""Places named per group, and NAMED_GROUPS groups per kind, in `to_dict`; counts are complete."""
NAMED_GROUPS: Final = 50
_SAMPLE_CHARS: Final = 160


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateGroup:
    """Texts that are copies of one another."""

    indices: tuple[int, ...]
    """Places in the sequence that was searched, ascending."""
    similarity: float
    """Jaccard similarity of the least similar pair that joined the group; 1 for exact copies."""
    where: tuple[str, ...]
    """The first few by name."""
    sample: str
    """How the first one begins."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"count": len(self.indices), "similarity": self.similarity, "where": list(self.where), "sample": self.sample}


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateReport:
    """Every group, the largest first. Near groups hold one text of each exact group, so the two kinds add up."""

    texts: int
    exact: tuple[DuplicateGroup, ...]
    near: tuple[DuplicateGroup, ...]
    threshold: float

    @property
    def redundant(self) -> int:
        """Texts that could go without losing a group."""
        return sum(len(group.indices) - 1 for group in (*self.exact, *self.near))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "texts": self.texts, "redundant": self.redundant, "threshold": self.threshold,
            "exact_groups": len(self.exact), "near_groups": len(self.near),
            "exact": [group.to_dict() for group in self.exact[:NAMED_GROUPS]],
            "near": [group.to_dict() for group in self.near[:NAMED_GROUPS]],
        }  # fmt: skip


def find_duplicates(
    texts: Sequence[str], places: Sequence[str] | None = None, *, threshold: float = THRESHOLD, seed: int = 0
) -> DuplicateReport:
    """Groups of copies among texts; `places` names them, else their numbers do."""
    assert places is None or len(places) == len(texts), f"{len(texts)} texts but {len(places or ())} places"

    def group(indices: Iterable[int], similarity: float) -> DuplicateGroup:
        members = tuple(sorted(indices))
        where = tuple(places[index] if places else f"#{index}" for index in members[:NAMED])
        sample = clean_line(texts[members[0]][: 4 * _SAMPLE_CHARS], _SAMPLE_CHARS)
        return DuplicateGroup(indices=members, similarity=similarity, where=where, sample=sample)

    copies: dict[bytes, list[int]] = {}
    for index, text in enumerate(texts):
        copies.setdefault(_fingerprint(text), []).append(index)
    firsts = [indices[0] for indices in copies.values()]
    exact = [group(indices, 1.0) for indices in copies.values() if len(indices) > 1]
    near = [group(*found) for found in NearSearch(texts, firsts, threshold, seed).groups()]
    return DuplicateReport(texts=len(texts), exact=_largest_first(exact), near=_largest_first(near), threshold=threshold)


def _fingerprint(text: str) -> bytes:
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _largest_first(groups: list[DuplicateGroup]) -> tuple[DuplicateGroup, ...]:
    return tuple(sorted(groups, key=lambda group: (-len(group.indices), group.indices[0])))
