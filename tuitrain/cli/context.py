"""What most commands need: the store of runs, and a run by name."""

from __future__ import annotations

from tuitrain.runs.home import runs_root
from tuitrain.runs.store import Run, RunStore


def store() -> RunStore:
    """All runs below the folder in force (--runs-dir, TUITRAIN_RUNS_DIR, TUITRAIN_HOME)."""
    return RunStore(runs_root())


def find(name: str) -> Run:
    """A run by id, part of it, path, or `latest`."""
    return store().get(name)
