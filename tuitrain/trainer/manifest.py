"""The manifest of a checkpoint: every file with its size and SHA-256. A folder without a true one is no checkpoint."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tuitrain.files import fsync_dir, read_json, write_json

FILE = "manifest.json"
_BLOCK = 1 << 22


def write_manifest(folder: Path) -> int:
    """Hash and fsync every file of a folder, then write the manifest. Returns the bytes of all files."""
    files: dict[str, dict[str, int | str]] = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256(path, sync=True)}
    write_json(folder / FILE, {"version": 1, "files": files})
    for each in sorted(folder.rglob("*")):
        if each.is_dir():
            fsync_dir(each)
    fsync_dir(folder)
    return sum((folder / name).stat().st_size for name in files)


def problem_with(folder: Path) -> str | None:
    """Why the folder is no whole checkpoint, or None. Reads every byte."""
    manifest = read_json(folder / FILE)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        return "has no manifest: the save was cut short"
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"lacks {name}"
        if path.stat().st_size != entry["bytes"]:
            return f"{name} has {path.stat().st_size} bytes, the manifest says {entry['bytes']}"
        if sha256(path) != entry["sha256"]:
            return f"{name} differs from its hash"
    return None


def sha256(path: Path, *, sync: bool = False) -> str:
    """Hex digest of a file; with `sync` its content is on the disk afterwards."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()
