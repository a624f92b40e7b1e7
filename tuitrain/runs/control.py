"""control.jsonl: what viewers ask of a trainer. They append; the trainer reads each step and acknowledges with an event.

Any terminal may ask; nothing needs the process to be ours. Killing is not asked for here - see `runs.kill`.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from tuitrain.files import append_line

Command = Literal["save", "pause", "resume", "stop"]
COMMANDS: Final = get_args(Command)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One line of control.jsonl."""

    id: str
    command: str
    t_ns: int


def send(control_file: Path, command: Command) -> Request:
    """Ask for `command`; the acknowledgement bears the request's id."""
    request = Request(id=secrets.token_hex(4), command=command, t_ns=time.time_ns())
    append_line(control_file, json.dumps({"id": request.id, "command": command, "t_ns": request.t_ns}))
    return request


class ControlReader:
    """The trainer's end: new requests since the last look. Cheap enough for every step: one `stat` when nothing came."""

    def __init__(self, control_file: Path, *, from_end: bool = True) -> None:
        self._path = control_file
        # Requests made before this process lived were for another one.
        self._offset = _size(control_file) if from_end else 0

    def read(self) -> list[Request]:
        """Requests that came in, oldest first. Lines that are none are left out."""
        if _size(self._path) <= self._offset:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            chunk = file.read()
        end = chunk.rfind(b"\n") + 1
        self._offset += end
        return [request for line in chunk[:end].splitlines() if (request := _parse(line))]


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - no object per step
    except FileNotFoundError:
        return 0


def _parse(line: bytes) -> Request | None:
    try:
        raw = json.loads(line)
        request = Request(id=str(raw["id"]), command=str(raw["command"]), t_ns=int(raw.get("t_ns", 0)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return request
