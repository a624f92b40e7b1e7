"""What others ask of a running trainer: save, pause, resume, stop. Every request is acknowledged by an event bearing its id.

The main process reads the requests; which commands came in travels with the step's own sum, so all processes obey in one step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tuitrain.runs.control import COMMANDS, ControlReader, Request
from tuitrain.trainer.setup import Setup
from tuitrain.trainer.signals import StopRequest
from tuitrain.trainer.state import Ending, TrainState

PAUSE_POLL_S = 0.2


class Requests:
    """Reads control.jsonl and obeys. `save(reason)` writes a checkpoint of the present step."""

    def __init__(self, setup: Setup, state: TrainState, stop: StopRequest, save: Callable[[str], bool]) -> None:
        self._setup, self._state, self._stop, self._save = setup, state, stop, save
        self._reader = ControlReader(setup.run_dir / "control.jsonl")
        self._waiting: list[Request] = []

    def signals(self) -> list[float]:
        """[terminate, then one flag per command]: this process's share of the step's sum."""
        self._waiting = self._reader.read() if self._setup.world.is_main else []
        asked = {request.command for request in self._waiting}
        return [float(bool(self._stop.name)), *(float(name in asked) for name in COMMANDS)]

    def obey(self, sums: Sequence[float]) -> None:
        """Do what the summed signals say; may end the run."""
        asked = {name for name, count in zip(COMMANDS, sums[1:], strict=True) if count}
        for request in self._waiting:
            if request.command not in COMMANDS:
                self._acknowledge(request, False, f"unknown command; known: {', '.join(COMMANDS)}")
        step = self._state.position.step
        if sums[0]:
            self._state.ending = Ending("stopped", f"{self._stop.name or 'a signal'}: saved and stopped")
            return
        if "save" in asked:
            ok = self._save("control")
            self._acknowledge_all("save", ok, f"step {step} saved" if ok else "the save failed, see the checkpoint event")
        if "resume" in asked and "pause" not in asked:
            self._acknowledge_all("resume", True, "it was not paused")
        if "stop" in asked:
            self._acknowledge_all("stop", True, f"stopping after step {step}")
            self._acknowledge_all("pause", True, "stopping instead")
            self._state.ending = Ending("stopped", "on request: saved and stopped")
        elif "pause" in asked:
            self._acknowledge_all("pause", True, f"paused after step {step}")
            self._pause()

    def _pause(self) -> None:
        """Hold still, weights in memory, until somebody says resume or stop. What is trained is saved first."""
        setup, state = self._setup, self._state
        self._save("pause")
        setup.telemetry.phase("paused", f"after step {state.position.step}")
        setup.telemetry.set_state("paused")
        paused = True
        while paused and state.ending is None:
            sums = setup.world.sum(self.signals())
            asked = {name for name, count in zip(COMMANDS, sums[1:], strict=True) if count}
            setup.telemetry.tick()
            if sums[0] or "stop" in asked:
                self._acknowledge_all("stop", True, "stopping while paused")
                state.ending = Ending("stopped", "while paused: saved and stopped")
            elif "resume" in asked:
                self._acknowledge_all("resume", True, f"going on from step {state.position.step}")
                paused = False
            else:
                self._acknowledge_all("save", True, "already saved when pausing")
                self._acknowledge_all("pause", True, "it is paused")
                time.sleep(PAUSE_POLL_S)
        setup.telemetry.set_state("running")
        if state.ending is None:
            setup.telemetry.phase("train")

    def _acknowledge_all(self, command: str, ok: bool, detail: str) -> None:
        for request in self._waiting:
            if request.command == command:
                self._acknowledge(request, ok, detail)

    def _acknowledge(self, request: Request, ok: bool, detail: str) -> None:
        self._setup.telemetry.emit_main("control_ack", id=request.id, command=request.command, ok=ok, detail=detail)
