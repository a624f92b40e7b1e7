"""Where things lie. `TUITRAIN_HOME` (default: the platform's user data folder) holds runs/, cache/ and machine.json."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Root of everything tuitrain keeps on this machine."""
    if value := os.environ.get("TUITRAIN_HOME"):
        return Path(value).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_data_dir("tuitrain"))


def runs_root() -> Path:
    """Folder of all runs; `--runs-dir` and TUITRAIN_RUNS_DIR override it."""
    value = os.environ.get("TUITRAIN_RUNS_DIR")
    return Path(value).expanduser().resolve() if value else home() / "runs"


def cache_dir() -> Path:
    """Tokenizers, token shards and compiled code: everything here can be made again."""
    return home() / "cache"


def machine_file() -> Path:
    """What was measured on this machine."""
    return home() / "machine.json"


def presets_dir() -> Path:
    """Presets: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_presets"
    return packaged if packaged.is_dir() else package.parent / "presets"
