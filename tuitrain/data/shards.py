"""Tokens on disk: memory-mapped shards, and one view over all of them.

A folder holds an `index.json` and, per shard, `<name>.tokens` (little-endian uint16 or uint32) and `<name>.documents` (int64:
where in the shard each document ends, exclusive). A document may go on in the next shard; it ends once. Every document ends
with the end-of-text token. Sizes are checked whenever a folder is opened, hashes on request.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tuitrain.files import write_json

INDEX_VERSION = 1
_MAX_OPEN_SHARDS = 128
"""Each mapping holds a file descriptor; there are usually 1024."""

Tokens = NDArray[np.unsignedinteger[Any]]


class CorruptShardsError(Exception):
    """The folder does not hold what its index says. Whoever opened it builds it again, or tells the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One shard as the index lists it."""

    name: str
    tokens: int
    documents: int
    """Documents that end in this shard."""
    bytes: int
    """UTF-8 bytes its tokens stand for."""
    sha256: str
    documents_sha256: str

    def check(self, folder: Path, dtype: np.dtype[Any], *, verify: bool) -> None:
        """Compare sizes, and hashes if asked to; CorruptShardsError when they differ."""
        for path, size, sha256 in (
            (folder / f"{self.name}.tokens", self.tokens * dtype.itemsize, self.sha256),
            (folder / f"{self.name}.documents", self.documents * 8, self.documents_sha256),
        ):
            try:
                found = path.stat().st_size
                if found != size:
                    raise CorruptShardsError(f"{path} has {found:,} bytes, not {size:,}")
                if verify:
                    with path.open("rb") as file:
                        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                            raise CorruptShardsError(f"{path} does not have the content its index says")
            except OSError as error:
                raise CorruptShardsError(f"{path} cannot be read ({error.strerror})") from error


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest type that holds every id."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


class ShardSet:
    """All shards of a folder as one stream of tokens. Reads what it needs; cheap to open, safe to share between threads."""

    def __init__(self, folder: Path, shards: list[Shard], dtype: np.dtype[Any]) -> None:
        self.folder, self.shards, self.dtype = folder, shards, dtype
        self._starts = np.concatenate([[0], np.cumsum([shard.tokens for shard in shards], dtype=np.int64)]).astype(np.int64)
        self.num_tokens = int(self._starts[-1])
        self.num_documents = sum(shard.documents for shard in shards)
        self.num_bytes = sum(shard.bytes for shard in shards)
        self._open: dict[int, tuple[Tokens, NDArray[np.int64]]] = {}

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> Self:
        """Open a folder; CorruptShardsError when it is not whole. `verify` also reads everything and compares hashes."""
        try:
            index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            if index["version"] != INDEX_VERSION:
                raise CorruptShardsError(f"{folder} has index version {index['version']}, not {INDEX_VERSION}")
            shards, dtype = [Shard(**shard) for shard in index["shards"]], np.dtype(str(index["dtype"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptShardsError(f"{folder} has no readable index.json ({error})") from error
        for shard in shards:
            shard.check(folder, dtype, verify=verify)
        return cls(folder, shards, dtype)

    @property
    def content_hash(self) -> str:
        """Hash of the tokens and document borders."""
        parts = [(shard.sha256, shard.documents_sha256) for shard in self.shards]
        return hashlib.sha256(json.dumps([self.dtype.str, parts]).encode()).hexdigest()

    def tokens(self, start: int, stop: int) -> Tokens:
        """Tokens [start, stop). A view where they lie in one shard."""
        assert 0 <= start <= stop <= self.num_tokens, f"tokens [{start}, {stop}) of {self.num_tokens}"
        parts: list[Tokens] = []
        shard = self._shard_of(start)
        while start < stop:
            begin, end = int(self._starts[shard]), int(self._starts[shard + 1])
            parts.append(self._shard(shard)[0][start - begin : min(stop, end) - begin])
            start, shard = min(stop, end), shard + 1
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    def document_ends(self, start: int, stop: int) -> NDArray[np.int64]:
        """Positions in (start, stop] where a document ends: the last token of a document stands just before its end."""
        parts = [np.empty(0, np.int64)]
        shard = self._shard_of(start)
        while shard < len(self.shards) and self._starts[shard] < stop:
            begin, ends = int(self._starts[shard]), self._shard(shard)[1]
            first, last = np.searchsorted(ends, [start - begin, stop - begin], side="right")
            parts.append(ends[first:last] + begin)
            shard += 1
        return np.concatenate(parts)

    def document_span(self, number: int) -> tuple[int, int]:
        """[start, stop) of the document, its end-of-text token included."""
        assert 0 <= number < self.num_documents, f"document {number} of {self.num_documents}"
        counts = np.cumsum([shard.documents for shard in self.shards])
        ends = []
        for wanted in (number - 1, number):
            shard = int(np.searchsorted(counts, wanted, side="right"))
            local = wanted - (int(counts[shard - 1]) if shard else 0)
            ends.append(int(self._starts[shard] + self._shard(shard)[1][local]) if wanted >= 0 else 0)
        return ends[0], ends[1]

    def _shard_of(self, position: int) -> int:
        return int(np.searchsorted(self._starts, position, side="right")) - 1

    def _shard(self, number: int) -> tuple[Tokens, NDArray[np.int64]]:
        opened = self._open.get(number)
        if opened is None:
            stem = self.folder / self.shards[number].name
            opened = (_map(stem.with_suffix(".tokens"), self.dtype), _map(stem.with_suffix(".documents"), np.dtype("<i8")))
            if len(self._open) >= _MAX_OPEN_SHARDS:
                self._open.clear()
            self._open[number] = opened
        return opened


def write_index(folder: Path, shards: list[Shard], dtype: np.dtype[Any]) -> None:
    """Make the shards a ShardSet. Written last: a folder without an index is not one."""
    write_json(
        folder / "index.json", {"version": INDEX_VERSION, "dtype": dtype.str, "shards": [asdict(shard) for shard in shards]}
    )


def _map(path: Path, dtype: np.dtype[Any]) -> Any:
    if not path.stat().st_size:  # an empty file cannot be mapped
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
