"""One attempt of a run inside the test's process: the real trainer, without torchrun and without signals."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tuitrain.config.resolved import load_resolved
from tuitrain.events import Event, read_events
from tuitrain.runs.store import Run
from tuitrain.trainer.attempt import run_attempt
from tuitrain.trainer.parallel import World
from tuitrain.trainer.signals import StopRequest
from tuitrain.trainer.telemetry import Telemetry


class StopAfter(StopRequest):
    """Asks to stop when it has been looked at `steps` times: the trainer looks once per step."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    @property
    def name(self) -> str:  # type: ignore[override]
        self._left -= 1
        return "SIGTERM" if self._left < 0 else ""


def attempt(run: Run, *, stop_after: int | None = None, number: int = 1, before: Callable[[], None] | None = None) -> int:
    """Train until the end, or stop after so many steps. Returns the exit code."""
    threads = torch.get_num_threads()
    world = World(rank=0, size=1, device=torch.device("cpu"))
    telemetry = Telemetry(run.path, world, attempt=number)
    if before is not None:
        before()
    try:
        stop = StopRequest() if stop_after is None else StopAfter(stop_after - 1)
        return run_attempt(run.path, load_resolved(run.path), world, telemetry, stop)
    finally:
        telemetry.close()
        torch.set_num_threads(threads)


def of_kind(run: Run, kind: str) -> list[Event]:
    """Events of one kind, by time."""
    return [event for event in read_events(run.events_dir) if event.kind == kind]


def losses(run: Run) -> dict[int, float]:
    """Training loss by step; the last attempt at a step counts."""
    return {event.step: event.number("loss") for event in of_kind(run, "step")}
