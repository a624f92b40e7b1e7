"""The tokens of one source in the cache: a folder that is built piece by piece and is complete when `entry.json` stands in it.

    <key>/pieces/000000.json ...    what a finished piece holds, and the position in the source after it
    <key>/train/  validation/       shards of all pieces, and index.json
    <key>/report.json               rows that could not be read
    <key>/entry.json                written last

A piece is a run of documents: its training shards and its held-out shards become visible together, with its manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.report import BadRowReport
from tuitrain.data.shard_writer import ShardWriter
from tuitrain.data.shards import CorruptShardsError, Shard, ShardSet, write_index
from tuitrain.data.stream import Position
from tuitrain.files import write_json

ENTRY_VERSION = 1
SIDES = ("train", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A finished piece."""

    after: Position
    """Where the next piece begins."""
    shards: dict[str, list[Shard]]
    report: BadRowReport


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedEntry:
    """A complete entry."""

    train: ShardSet
    validation: ShardSet
    report: BadRowReport
    content_hash: str


class Entry:
    """One folder of the cache. Whoever changes it holds its lock."""

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        self.folder, self.dtype = folder, dtype

    def open(self, *, verify: bool) -> OpenedEntry | None:
        """The entry if it is complete and whole, else None."""
        try:
            data = json.loads((self.folder / "entry.json").read_text(encoding="utf-8"))
            train, validation = (ShardSet.open(self.folder / side, verify=verify) for side in SIDES)
            report = BadRowReport.from_json(json.loads((self.folder / "report.json").read_text(encoding="utf-8")))
            if data["version"] != ENTRY_VERSION or data["content_hash"] != _content_hash(train, validation):
                return None
        except (OSError, ValueError, KeyError, TypeError, CorruptShardsError):
            return None
        return OpenedEntry(train=train, validation=validation, report=report, content_hash=data["content_hash"])

    def finished_pieces(self, *, verify: bool) -> list[Piece]:
        """The pieces that need not be done again: all before the first that is missing or damaged."""
        pieces: list[Piece] = []
        while True:
            try:
                data = json.loads(self._manifest(len(pieces)).read_text(encoding="utf-8"))
                shards = {side: [Shard(**shard) for shard in data["shards"][side]] for side in SIDES}
                for side in SIDES:
                    for shard in shards[side]:
                        shard.check(self.folder / side, self.dtype, verify=verify)
                report = BadRowReport.from_json(data["report"])
                pieces.append(Piece(after=Position(*data["after"]), shards=shards, report=report))
            except (OSError, ValueError, KeyError, TypeError, CorruptShardsError):
                return pieces

    def begin(self, kept: int) -> None:
        """From here to `finish` the entry is not complete, and only its first `kept` pieces are finished."""
        for folder in ("pieces", *SIDES):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        (self.folder / "entry.json").unlink(missing_ok=True)
        _remove_others(self.folder / "pieces", {self._manifest(number).name for number in range(kept)})

    def commit_piece(self, number: int, piece: Piece) -> None:
        """Write the manifest of a piece whose shards are in place."""
        shards = {side: [asdict(shard) for shard in piece.shards[side]] for side in SIDES}
        write_json(self._manifest(number), {"after": list(piece.after), "shards": shards, "report": piece.report.to_json()})

    def write_report(self, pieces: Sequence[Piece]) -> BadRowReport:
        """Write what could not be read in all pieces."""
        report = BadRowReport()
        for piece in pieces:
            report.merge(piece.report)
        write_json(self.folder / "report.json", report.to_json())
        return report

    def finish(self, pieces: Sequence[Piece]) -> None:
        """Write the indexes, remove what no piece lists, and declare the entry complete."""
        for side in SIDES:
            shards = [shard for piece in pieces for shard in piece.shards[side]]
            write_index(self.folder / side, shards, self.dtype)
            names = {f"{shard.name}.{kind}" for shard in shards for kind in ("tokens", "documents")} | {"index.json"}
            _remove_others(self.folder / side, names)
        train, validation = (ShardSet.open(self.folder / side) for side in SIDES)
        write_json(self.folder / "entry.json", {"version": ENTRY_VERSION, "content_hash": _content_hash(train, validation)})

    def _manifest(self, number: int) -> Path:
        return self.folder / "pieces" / f"{number:06d}.json"


class PieceWriter:
    """A piece being written."""

    def __init__(self, entry: Entry, *, number: int, shard_tokens: int) -> None:
        self._entry, self._number, self._shard_tokens = entry, number, shard_tokens
        self.report = BadRowReport()
        self._writers = {
            side: ShardWriter(entry.folder / side, piece=number, dtype=entry.dtype, shard_tokens=shard_tokens) for side in SIDES
        }

    def has_room(self, side: str, tokens: int) -> bool:
        """Whether a document fits without another shard; the first document of a side always goes in."""
        writer = self._writers[side]
        return not writer.num_tokens or writer.num_tokens + tokens <= self._shard_tokens

    def add(self, side: str, ids: NDArray[np.uint32], num_bytes: int) -> None:
        """Append one document."""
        self._writers[side].add(ids, num_bytes)

    def commit(self, after: Position) -> Piece:
        """Make the piece durable."""
        shards = {side: self._writers[side].commit() for side in SIDES}
        piece = Piece(after=after, shards=shards, report=self.report)
        self._entry.commit_piece(self._number, piece)
        return piece

    def abort(self) -> None:
        """Leave no trace of the piece."""
        for writer in self._writers.values():
            writer.abort()


def _content_hash(train: ShardSet, validation: ShardSet) -> str:
    return hashlib.sha256(f"{train.content_hash} {validation.content_hash}".encode()).hexdigest()


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            with suppress(OSError):
                path.unlink()
