"""Log-probabilities of the reference model, kept on disk: it runs once over the data, and never beside the model that learns.

    <folder>/<key>/manifest.json     the pieces, each with its SHA-256; replaced atomically
                   <sha256>.npy      one piece: see `pieces`
                   .lock             held by whoever reads or writes the folder

The key names everything the values depend on (`cache_key`), so that another model, template or precision has a folder of its
own. Values come in pieces as they are computed; a computation that was cut short goes on with what is `missing`. A file that
does not have the hash the manifest gives it is deleted, its name is kept in `discarded`, and its rows are missing again.
Two processes may compute at once: the first to `put` a row wins, and both then hold the same value.

numpy and the standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tuitrain.files import exclusive_lock, read_json, write_json
from tuitrain.trainer.preference.pieces import Rows, read_piece, row_dtype, sweep, write_piece

VERSION: Final = 1
PIECES: Final = 32
"""Pieces at which they are put together into one, so that no manifest of thousands is written thousands of times."""
MANIFEST, LOCK = "manifest.json", ".lock"


def cache_key(*, model: str, data: str, tokenizer: str, compute: Mapping[str, object]) -> str:
    """SHA-256 over what the values depend on: hashes of the model, the data, the tokenizer with its template, and facts of
    the computation that move results (dtype, attention, longest sequence)."""
    facts = {"model": model, "data": data, "tokenizer": tokenizer, "compute": dict(compute)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


class ReferenceCache:
    """Rows 0 to `examples` - 1, each with an fp32 value for each of `columns`."""

    def __init__(self, folder: Path, key: str, *, examples: int, columns: Sequence[str] = ("chosen", "rejected")) -> None:
        self.folder = folder / key
        self.discarded: list[str] = []
        """Names of files that were not what they should be."""
        self._stamp = {"version": VERSION, "key": key}
        self._size = {"examples": examples, "columns": list(columns)}
        self._values = np.zeros((examples, len(columns)), dtype=np.float32)
        self._known = np.zeros(examples, dtype=np.bool_)
        self._read: set[str] = set()
        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(self.folder / LOCK, wait=True):
            self._refresh()

    @property
    def complete(self) -> bool:
        """Whether every row is there, by this process or another."""
        return self.missing().size == 0

    def missing(self) -> npt.NDArray[np.int64]:
        """Rows nobody has put yet, in order."""
        if not self._known.all():
            with exclusive_lock(self.folder / LOCK, wait=True):
                self._refresh()
        return np.flatnonzero(~self._known).astype(np.int64)

    def get(self, indices: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """[rows, columns] of these rows, in this order. KeyError where one is missing."""
        wanted = self._checked(indices)
        unknown = wanted[~self._known[wanted]]
        if unknown.size:
            raise KeyError(f"{unknown.size} of {wanted.size} rows have no reference yet, first {unknown[0]}")
        return self._values[wanted]

    def put(self, indices: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Store [rows, columns] for these rows, on disk when this returns; some hundred at a time, as each call writes files.

        Rows that are already there keep their values, so that processes agree.
        """
        given = self._checked(indices)
        rows = self._rows(given, np.asarray(values, dtype=np.float32).reshape(given.size, self._values.shape[1]))
        odd = given[~np.isfinite(rows["values"]).all(axis=1)]
        if odd.size:
            raise ValueError(f"the reference's log-probability of example {odd[0]} is not finite")
        rows = rows[np.unique(given, return_index=True)[1]]
        with exclusive_lock(self.folder / LOCK, wait=True):
            pieces = self._refresh()
            rows = rows[~self._known[rows["index"]]]
            if not rows.size:
                return
            name, entry = write_piece(self.folder, rows)
            self._take(rows)
            pieces[name] = entry
            if len(pieces) > PIECES:
                known = np.flatnonzero(self._known)
                pieces = dict([write_piece(self.folder, self._rows(known, self._values[known]))])
            self._read.update(pieces)
            self._list(pieces)

    def _checked(self, indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        outside = wanted[(wanted < 0) | (wanted >= self._known.size)]
        if outside.size:
            raise IndexError(f"example {outside[0]} of {self._known.size}")
        return wanted

    def _rows(self, indices: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> Rows:
        rows = np.zeros(indices.size, dtype=row_dtype(self._values.shape[1]))
        rows["index"], rows["values"] = indices, values
        return rows

    def _take(self, rows: Rows) -> None:
        self._values[rows["index"]], self._known[rows["index"]] = rows["values"], True

    def _refresh(self) -> dict[str, Any]:
        """Take in what others wrote; returns the pieces that are whole. Needs the lock."""
        manifest = read_json(self.folder / MANIFEST)
        if not isinstance(manifest, dict) or {name: manifest.get(name) for name in self._stamp} != self._stamp:
            if (self.folder / MANIFEST).exists():
                self.discarded.append(MANIFEST)
                self._list({})
            return {}
        if {name: manifest.get(name) for name in self._size} != self._size:
            raise ValueError(f"{self.folder} is not of {self._size}: the key leaves out what they depend on")
        listed = manifest["pieces"]
        whole = {name: entry for name, entry in listed.items() if name in self._read or self._load(name, entry)}
        if len(whole) < len(listed):
            self.discarded += sorted(set(listed) - set(whole))
            self._list(whole)
        return whole

    def _load(self, name: str, entry: Any) -> bool:
        examples, columns = self._values.shape
        rows = read_piece(self.folder / name, entry, columns=columns, examples=examples)
        if rows is None:
            return False
        self._take(rows)
        self._read.add(name)
        return True

    def _list(self, pieces: dict[str, Any]) -> None:
        """Make these, and no others, the pieces. Needs the lock."""
        write_json(self.folder / MANIFEST, {**self._stamp, **self._size, "pieces": pieces})
        sweep(self.folder, set(pieces))
