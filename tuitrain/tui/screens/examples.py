"""What a screen of a run's examples stands on: they are read in a thread while it is open, and it hears how far that is."""

from __future__ import annotations

import threading
from typing import Any

from tuitrain.runs.store import Run
from tuitrain.tui.messages import ExamplesNews
from tuitrain.tui.screens.base import TuiScreen
from tuitrain.tui.screens.jobs import Say
from tuitrain.tui.tokens.examples import Examples
from tuitrain.tui.tokens.reading import read_and_count


class ExamplesScreen(TuiScreen):
    """A screen with the training examples of a run."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run_folder = run
        self.examples: Examples | None = None
        self.report: dict[str, Any] | None = None
        """What there is to say about all of them; comes some seconds after they do."""
        self.said, self.failed = "", ""
        self._left = threading.Event()

    def on_mount(self) -> None:
        """Begin to read."""
        self.call_after_refresh(self.paint)
        run, post, left = self.run_folder, self.tui.bridge.post, self._left

        def work(say: Say) -> None:
            read_and_count(run, post, left)

        self.tui.bridge.job("reading the examples", work)

    def on_unmount(self) -> None:
        """Nobody looks any more: the thread ends at its next word."""
        self._left.set()

    def heard(self, message: ExamplesNews) -> None:
        """More of the examples is known."""
        if message.run_path != self.run_folder.path:
            return
        self.said = message.said
        self.examples = message.examples or self.examples
        self.report = message.report or self.report
        self.failed = message.failed or self.failed
        self.paint()
