"""The run store: names, nearest names, nothing half-made is listed, nothing running is deleted."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tuitrain.errors import UsageError
from tuitrain.runs.status import ProcessId, Status, write_status
from tuitrain.runs.store import Run, RunStore


def made(store: RunStore, name: str, *, age_s: float = 0.0) -> Run:
    run = store.create(name)
    file = run.path / "config.toml"
    file.write_text("")
    os.utime(file, (file.stat().st_mtime - age_s, file.stat().st_mtime - age_s))
    return run


def test_newest_first_and_unfinished_folders_are_no_runs(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    assert store.list() == []
    old, new = made(store, "old", age_s=100), made(store, "new")
    store.create("being-made")
    assert [run.run_id for run in store.list()] == [new.run_id, old.run_id]
    assert store.get("latest") == new


def test_found_by_part_path_and_nearest_name(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    demo, other = made(store, "demo"), made(store, "other")
    assert store.get("demo") == demo
    assert store.get(other.run_id[-4:]) == other
    assert store.get(str(demo.path)) == demo
    with pytest.raises(UsageError, match=r"did you mean 'demo-"):
        store.get("dmeo-2")
    made(store, "demo")
    with pytest.raises(UsageError, match="fits 2 runs"):
        store.get("demo")


def test_an_empty_store_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tuitrain demo"):
        RunStore(tmp_path).get("latest")


def test_ids_never_collide(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert len({store.create("x").run_id for _ in range(50)}) == 50


def test_a_running_run_is_not_deleted(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run = made(store, "x")
    write_status(run.path, Status(state="running", host=socket.gethostname(), attempt=1, trainer=ProcessId.current()))
    with pytest.raises(UsageError, match="is running"):
        store.remove(run)
    write_status(run.path, Status(state="finished", host=socket.gethostname(), attempt=1))
    store.remove(run)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_checkpoint_is_the_model(tmp_path: Path) -> None:
    run = made(RunStore(tmp_path), "x")
    assert run.model_dir() is None
    for step in (5, 20, 100):
        (run.checkpoints_dir / f"step-{step:08d}").mkdir(parents=True)
    (run.checkpoints_dir / ".staging-step-00000200").mkdir()
    assert run.checkpoint_steps() == [5, 20, 100]
    assert run.model_dir() == run.checkpoints_dir / "step-00000100"
