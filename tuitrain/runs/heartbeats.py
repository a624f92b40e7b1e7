"""heartbeats/rankNNNNN.json: one small file per process of a run, in which it says that it lives and how far it is.

Written by the process itself, in place and at a fixed size: a full disk cannot silence it. Read by the supervisor, which finds
who is stuck and who died of what, and by the other processes, which find out that one of them is gone. Must not import torch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tuitrain.runs.status import ProcessId

RECORD_BYTES: Final = 4096
_MESSAGE_CHARS = 600
_FOLDER = "heartbeats"
_NAME = re.compile(r"^rank(\d+)\.json$")


@dataclass(frozen=True, kw_only=True, slots=True)
class RankBeat:
    """The newest word of one process."""

    rank: int
    attempt: int
    pid: int
    start_time_s: float
    host: str
    heartbeat_s: float
    """When the process was last alive, seconds since the epoch."""
    progress_s: float
    """When its training thread last moved."""
    step: int = 0
    phase: str = "start"
    state: str = "running"
    """running | left (an orderly end, whatever its result) | error | out_of_memory | lost_peer"""
    message: str = ""
    """Why, for the last three."""
    exit_code: int = 0
    reached: Mapping[str, int] = field(default_factory=dict)
    """Collectives entered so far, by process group; written once there was no progress for a while."""
    waiting_in: str = ""
    """The last of them."""

    def process(self) -> psutil.Process | None:
        """The process, while it exists on this machine and is no zombie."""
        return ProcessId(pid=self.pid, start_time_s=self.start_time_s).process()

    @property
    def is_dead(self) -> bool:
        """Gone without having left in order. Of another machine's processes nothing is known."""
        return self.state != "left" and self.host == socket.gethostname() and self.process() is None


def path_of(run_dir: Path, rank: int) -> Path:
    """The file of one process."""
    return run_dir / _FOLDER / f"rank{rank:05d}.json"


def open_beat(run_dir: Path, rank: int) -> int:
    """A descriptor to write this process's heartbeats through; an older process's are gone."""
    path = path_of(run_dir, rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)


def write_beat(fd: int, beat: RankBeat) -> None:
    """Put the record in the place of the one before."""
    raw = asdict(beat) | {"message": beat.message[:_MESSAGE_CHARS]}
    record = json.dumps(raw).encode()
    if len(record) > RECORD_BYTES:  # only many process groups can make it so
        record = json.dumps(raw | {"reached": {}, "message": beat.message[:100]}).encode()
    os.pwrite(fd, record.ljust(RECORD_BYTES), 0)


def read_beat(run_dir: Path, rank: int) -> RankBeat | None:
    """The record of one process; None when there is none, or when it is being written at this moment."""
    try:
        raw = json.loads(path_of(run_dir, rank).read_bytes())
        return RankBeat(**{key: raw[key] for key in RankBeat.__dataclass_fields__ if key in raw})
    except (OSError, ValueError, TypeError):
        return None


def read_beats(run_dir: Path, *, attempt: int | None = None) -> dict[int, RankBeat]:
    """The records of all processes by rank; of one attempt only where one is given."""
    folder = run_dir / _FOLDER
    if not folder.is_dir():
        return {}
    ranks = sorted(int(match[1]) for each in folder.iterdir() if (match := _NAME.match(each.name)))
    beats = {rank: beat for rank in ranks if (beat := read_beat(run_dir, rank)) is not None}
    return {rank: beat for rank, beat in beats.items() if attempt is None or beat.attempt == attempt}


def forget_beats(run_dir: Path) -> None:
    """Remove what earlier attempts left."""
    shutil.rmtree(run_dir / _FOLDER, ignore_errors=True)
