"""What a run read, for its model card: sources with counts and hashes, and until when they could know anything."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tuitrain.config.schema import SourceSection
from tuitrain.files import write_json

FILE: Final = "data.json"


def write_data_facts(run_dir: Path, sources: Sequence[SourceSection], hashes: Sequence[dict[str, Any]], total: str) -> None:
    """Keep it in the run's folder. `hashes`: for each source what its reading found, `content_hash` among it."""
    rows = [
        {
            "name": str(source.path or source.dataset or source.corpus),
            "weight": source.weight,
            "cutoff": cutoff(source),
            **facts,
        }
        for source, facts in zip(sources, hashes, strict=True)
    ]
    write_json(run_dir / FILE, {"content_hash": total, "sources": rows})


def cutoff(source: SourceSection) -> str:
    """The day after which nothing of a source was written, as far as this machine can tell, and how it can."""
    if source.corpus is not None:
        built = platform.python_build()[1] or "at an unknown time"
        return f"the standard library of Python {platform.python_version()}, built {built}"
    if source.path is not None:
        files = [source.path] if source.path.is_file() else [each for each in source.path.rglob("*") if each.is_file()]
        newest = max((each.stat().st_mtime for each in files), default=None)
        if newest is not None:
            return time.strftime("%Y-%m-%d", time.gmtime(newest)) + " (newest file's date; what it holds may be older)"
    return "unknown: the dataset's own page says, if any"
