"""Write documents into shards. Nothing is visible before `commit`: files are staged, synced, then renamed."""

from __future__ import annotations

import hashlib
import os
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.disk import write_all
from tuitrain.data.shards import Shard
from tuitrain.files import fsync_dir

SHARD_TOKENS = 64 << 20
"""Tokens of a full shard: 128 MiB at two bytes per token, written about every minute."""
_BUFFER_TOKENS = 1 << 20


class ShardWriter:
    """Shards of one side of one piece. A document too long for a shard is spread over several."""

    def __init__(self, folder: Path, *, piece: int, dtype: np.dtype[Any], shard_tokens: int) -> None:
        self.folder, self.piece, self.dtype, self.shard_tokens = folder, piece, dtype, shard_tokens
        self.num_tokens = 0
        self._shards: list[Shard] = []
        self._staged: list[tuple[Path, Path]] = []
        self._fd = -1
        self._start_shard()

    def add(self, ids: NDArray[np.uint32], num_bytes: int) -> None:
        """Append one document; `ids` ends with the end-of-text token. Its bytes count where it ends."""
        self.num_tokens += len(ids)
        while self._tokens + len(ids) > self.shard_tokens:
            room = self.shard_tokens - self._tokens
            self._append(ids[:room])
            ids = ids[room:]
            self._end_shard()
            self._start_shard()
        self._append(ids)
        self._ends.append(self._tokens)
        self._bytes += num_bytes

    def commit(self) -> list[Shard]:
        """Make the shards durable and visible."""
        self._end_shard()
        for staged, final in self._staged:
            staged.replace(final)
        if self._staged:
            fsync_dir(self.folder)
        self._staged = []
        return self._shards

    def abort(self) -> None:
        """Remove what was staged."""
        self._close()
        for staged, _ in self._staged:
            with suppress(OSError):
                staged.unlink()

    def _start_shard(self) -> None:
        self._tokens = self._bytes = self._waiting_tokens = 0
        self._ends = array("q")
        self._waiting: list[NDArray[Any]] = []
        self._digest = hashlib.sha256()

    def _append(self, ids: NDArray[np.uint32]) -> None:
        self._waiting.append(ids.astype(self.dtype))
        self._tokens += len(ids)
        self._waiting_tokens += len(ids)
        if self._waiting_tokens >= _BUFFER_TOKENS:
            self._flush()

    def _flush(self) -> None:
        if self._fd < 0:
            self._fd = self._stage(f"{self._name()}.tokens")
        data = np.concatenate([np.empty(0, self.dtype), *self._waiting]).tobytes()
        self._digest.update(data)
        write_all(self._fd, data)
        self._waiting, self._waiting_tokens = [], 0

    def _end_shard(self) -> None:
        if not self._tokens:
            return
        self._flush()
        os.fsync(self._fd)
        self._close()
        ends = np.frombuffer(self._ends, dtype=np.int64).astype("<i8").tobytes() if self._ends else b""
        fd = self._stage(f"{self._name()}.documents")
        try:
            write_all(fd, ends)
            os.fsync(fd)
        finally:
            os.close(fd)
        self._shards.append(
            Shard(
                name=self._name(), tokens=self._tokens, documents=len(self._ends), bytes=self._bytes,
                sha256=self._digest.hexdigest(), documents_sha256=hashlib.sha256(ends).hexdigest(),
            )
        )  # fmt: skip
        self._tokens = 0

    def _name(self) -> str:
        return f"{self.piece:06d}-{len(self._shards):03d}"

    def _stage(self, name: str) -> int:
        staged = self.folder / f".{name}.staged"
        self._staged.append((staged, self.folder / name))
        return os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
