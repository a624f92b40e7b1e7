"""One piece of a reference cache: rows of (example index, fp32 values) in a file named by its SHA-256.

A file is written whole or not at all, and never changed; what is read back has the hash it was listed with, or is nothing.
numpy and the standard library only.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuitrain.files import write_atomic

Rows = npt.NDArray[Any]
"""Records of `row_dtype`."""


def row_dtype(columns: int) -> np.dtype[Any]:
    """An example's index and its values."""
    return np.dtype([("index", "<i8"), ("values", "<f4", (columns,))])


def write_piece(folder: Path, rows: Rows) -> tuple[str, dict[str, Any]]:
    """Returns the file's name and what the manifest must say of it."""
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    write_atomic(folder / f"{digest}.npy", data)
    return f"{digest}.npy", {"sha256": digest, "bytes": len(data), "rows": int(rows.size)}


def read_piece(path: Path, entry: Any, *, columns: int, examples: int) -> Rows | None:
    """The rows, or None where the file is not exactly what the manifest says, or says what cannot be."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            return None
        rows: Rows = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if rows.dtype != row_dtype(columns) or ((rows["index"] < 0) | (rows["index"] >= examples)).any():
        return None
    return rows


def sweep(folder: Path, listed: set[str]) -> None:
    """Delete pieces no manifest lists: torn ones, merged ones, and what a killed process left before it could list it. Needs
    the folder's lock: whoever is about to list a piece holds it."""
    for path in folder.iterdir():
        staged = path.name.startswith(".") and (".npy." in path.name or ".json." in path.name)  # write_atomic, cut short
        if staged or (path.suffix == ".npy" and path.name not in listed):
            path.unlink(missing_ok=True)
