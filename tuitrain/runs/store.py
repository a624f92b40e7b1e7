"""The runs on this machine: a folder each. The folder is the API; nothing here talks to a trainer."""

from __future__ import annotations

import difflib
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuitrain.errors import UsageError
from tuitrain.events import RunState, fold, read_events
from tuitrain.files import exclusive_lock, read_json
from tuitrain.runs.status import Liveness, Status, liveness, read_status

_STEP = re.compile(r"^step-(\d+)$")
_RANK_LOG = re.compile(r"^rank(\d+)\.log$")


def rank_log(run_dir: Path, rank: int) -> Path:
    """Where a process writes: rank 0 and torchrun share train.log, every other rank has a log of its own."""
    return run_dir / "logs" / f"rank{rank:05d}.log" if rank else run_dir / "train.log"


def stacks_file(run_dir: Path, *, rank: int, attempt: int) -> Path:
    """Where a stuck process's stacks are written."""
    return run_dir / "stacks" / f"attempt-{attempt:04d}-rank{rank:05d}.txt"


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder and what can be read from it."""

    path: Path

    @property
    def run_id(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def events_dir(self) -> Path:
        """One JSONL file per process."""
        return self.path / "events"

    @property
    def log_file(self) -> Path:
        """Output of the trainer and everything below it."""
        return self.path / "train.log"

    @property
    def control_file(self) -> Path:
        """What viewers asked of the trainer."""
        return self.path / "control.jsonl"

    @property
    def checkpoints_dir(self) -> Path:
        """step-NNNNNNNN folders."""
        return self.path / "checkpoints"

    def status(self) -> Status | None:
        """Who works on it."""
        return read_status(self.path)

    def liveness(self) -> Liveness:
        """Whether anybody still does."""
        return liveness(self.status())

    def resolved(self) -> dict[str, Any]:
        """The configuration as run, with reasons; empty before the run was prepared."""
        return read_json(self.path / "resolved.json") or {}

    def plan(self) -> dict[str, Any]:
        """The prediction; empty when there is none."""
        return read_json(self.path / "plan.json") or {}

    def fold(self) -> RunState:
        """Everything its event log says."""
        return fold(read_events(self.events_dir))

    def checkpoint_steps(self) -> list[int]:
        """Steps with a checkpoint folder, ascending; whether each is whole is the trainer's to verify."""
        if not self.checkpoints_dir.is_dir():
            return []
        return sorted(int(match[1]) for each in self.checkpoints_dir.iterdir() if (match := _STEP.match(each.name)))

    def rank_logs(self) -> dict[int, Path]:
        """The log of every process that has one, by rank."""
        logs = {0: self.log_file} if self.log_file.is_file() else {}
        folder = rank_log(self.path, 1).parent
        if folder.is_dir():
            logs |= {int(match[1]): each for each in sorted(folder.iterdir()) if (match := _RANK_LOG.match(each.name))}
        return logs

    def model_dir(self) -> Path | None:
        """The newest checkpoint, a Hugging Face model folder; None before the first."""
        steps = self.checkpoint_steps()
        return self.checkpoints_dir / f"step-{steps[-1]:08d}" if steps else None


class RunStore:
    """All runs below one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[Run]:
        """All runs, newest first."""
        if not self.root.is_dir():
            return []
        runs = [Run(each) for each in self.root.iterdir() if (each / "config.toml").is_file()]
        return sorted(runs, key=lambda run: (_created_s(run.path), run.run_id), reverse=True)

    def get(self, name: str) -> Run:
        """A run by id, unique beginning or end of it, path, or `latest`."""
        if (Path(name) / "config.toml").is_file():
            return Run(Path(name).resolve())
        runs = self.list()
        if name == "latest" and runs:
            return runs[0]
        for matches in (
            [run for run in runs if run.run_id == name],
            [run for run in runs if run.run_id.startswith(name) or run.run_id.endswith(name)],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise UsageError(
                    f"{name!r} fits {len(matches)} runs: {', '.join(run.run_id for run in matches[:5])}", "give more of the id"
                )
        near = difflib.get_close_matches(name, [run.run_id for run in runs], n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}? `tuitrain runs ls` lists all" if near else "`tuitrain runs ls` lists all"
        raise UsageError(f"no run {name!r} in {self.root}", hint if runs else "there are none yet; `tuitrain demo` makes one")

    def create(self, name: str) -> Run:
        """A new, empty run folder; its id is the name, the date and a random suffix."""
        self.root.mkdir(parents=True, exist_ok=True)
        while True:
            run_id = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
            try:
                (self.root / run_id).mkdir()
            except FileExistsError:
                continue
            return Run(self.root / run_id)

    def remove(self, run: Run) -> None:
        """Delete a run. Refused while anybody works on it."""
        if run.liveness().alive:
            raise UsageError(f"{run.run_id} is running", f"`tuitrain runs stop {run.run_id}` first")
        with exclusive_lock(run.path / "run.lock", wait=False) as free:
            if not free:
                raise UsageError(f"{run.run_id} is being started", "try again when it has stopped")
            doomed = run.path.with_name(f".removing-{run.run_id}-{os.getpid()}")
            run.path.rename(doomed)
        shutil.rmtree(doomed)


def _created_s(path: Path) -> float:
    try:
        return (path / "config.toml").stat().st_mtime
    except OSError:
        return 0.0
