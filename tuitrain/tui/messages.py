"""What threads tell the screens. Those that carry the newest state replace older ones still in the queue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message

from tuitrain.runs.machine import Machine
from tuitrain.tui.render.summary import RunSummary

if TYPE_CHECKING:
    from tuitrain.tui.tokens.examples import Examples


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


@dataclass
class ExamplesNews(Message):
    """What is new of the reading of a run's examples: one of these."""

    run_path: Path
    said: str = ""
    """How far it is."""
    examples: Examples | None = None
    """They can be looked at."""
    report: dict[str, Any] | None = None
    """What there is to say about all of them."""
    failed: str = ""
    """They cannot be read, and why."""

    def can_replace(self, message: Message) -> bool:
        """A word on how far it is makes older words needless, and nothing else."""
        return isinstance(message, ExamplesNews) and message.run_path == self.run_path and bool(message.said and self.said)
