"""What threads tell the screens. Those that carry the newest state replace older ones still in the queue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from tuitrain.runs.machine import Machine
from tuitrain.tui.render.summary import RunSummary


@dataclass
class RunGrew(Message):
    """A watched run's feed, log or liveness changed."""

    run_path: Path

    def can_replace(self, message: Message) -> bool:
        """One per run in the queue is enough."""
        return isinstance(message, RunGrew) and message.run_path == self.run_path


@dataclass
class RunsListed(Message):
    """All runs, newest first."""

    runs: tuple[RunSummary, ...]
    complete: bool
    """Whether every run was looked into, not only listed."""

    def can_replace(self, message: Message) -> bool:
        """Only the newest list matters."""
        return isinstance(message, RunsListed)


@dataclass
class MachineSeen(Message):
    """What this machine is, in a line."""

    text: str


@dataclass
class MachineKnown(Message):
    """This machine, as the Plan screen needs it."""

    machine: Machine


@dataclass
class JobSaid(Message):
    """A word on what a job is doing."""

    text: str

    def can_replace(self, message: Message) -> bool:
        """Only the newest word matters."""
        return isinstance(message, JobSaid)


@dataclass
class JobDone(Message):
    """A job ended well."""

    text: str
    open_run: Path | None = None
    """A run to show now."""


@dataclass
class JobFailed(Message):
    """A job ended in an error meant for people."""

    message: str
    hint: str
