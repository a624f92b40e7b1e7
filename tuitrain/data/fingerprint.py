"""The content hash of a file, remembered by path, size and modification time, so the second run need not read it again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from tuitrain.files import write_json

_CHUNK_BYTES = 8 << 20
_RACY_NS = 2_000_000_000
"""A file that changed this recently may change again within the same tick of its clock: it is hashed again next time."""


class Fingerprints:
    """Hashes of files, and the revisions of remote datasets, kept in one JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.revisions: dict[str, str] = {}
        self._files: dict[str, list[int | str]] = {}
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            self._files, self.revisions = dict(known["files"]), dict(known["revisions"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing is lost: hashes are taken again
        self._saved = self._state()

    def of(self, path: Path, progress: Callable[[int], None]) -> str:
        """SHA-256 of the content; for a file that cannot be read a text that says so. `progress` hears of every few MB read."""
        try:
            status = path.stat()
            stamp = [status.st_size, status.st_mtime_ns]
            known = self._files.get(key := os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
            if known is not None and known[:2] == stamp:
                progress(status.st_size)
                return str(known[2])
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    progress(len(chunk))
        except OSError as error:
            return f"unreadable: {error.errno}"
        if time.time_ns() - status.st_mtime_ns > _RACY_NS:
            self._files[key] = [*stamp, digest.hexdigest()]
        return digest.hexdigest()

    def save(self) -> None:
        """Write what was learnt."""
        if self._state() != self._saved:
            write_json(self.path, {"files": self._files, "revisions": self.revisions})
            self._saved = self._state()

    def _state(self) -> int:
        return hash((len(self._files), *self.revisions.items(), *(str(entry[2]) for entry in self._files.values())))
