"""The application: services (threads, clock, character set), screens, messages. What it shows is the screens' business."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from textual.app import App, SystemCommand
from textual.command import CommandPalette
from textual.screen import Screen

from tuitrain.runs.home import runs_root
from tuitrain.runs.store import Run, RunStore
from tuitrain.text import clean_line
from tuitrain.tui import theme
from tuitrain.tui.actions import on_screen
from tuitrain.tui.bridge import Bridge
from tuitrain.tui.messages import ExamplesNews, JobDone, JobFailed, JobSaid, MachineKnown, MachineSeen, RunGrew, RunsListed
from tuitrain.tui.render.glyphs import ASCII, UNICODE, to_ascii
from tuitrain.tui.screens.base import TuiScreen
from tuitrain.tui.screens.error import ErrorScreen
from tuitrain.tui.screens.run import RunScreen
from tuitrain.tui.screens.runs import RunsScreen

if TYPE_CHECKING:
    from tuitrain.runs.machine import Machine
    from tuitrain.tui.plan.state import Planning

LOCAL_FRAME_S, REMOTE_FRAME_S = 0.25, 1.0
"""Four paints a second at the machine, one over SSH: 29 kB/s instead of 160 at 160x45."""


def _while_open(handler: Callable[[TuitrainApp, Any], None]) -> Callable[[TuitrainApp, Any], None]:
    """What a thread posted before it was stopped may come when the screens are gone: it has nowhere to be shown."""

    @functools.wraps(handler)
    def handle(app: TuitrainApp, message: Any) -> None:
        if app.screen_stack:
            handler(app, message)

    return handle


def describe_this_machine() -> str:
    """What this machine is, in a line. May ask nvidia-smi, which takes its time: for a thread."""
    from tuitrain.runs.machine import this_machine

    return this_machine().describe()


class TuitrainApp(App[None]):
    """The interface."""

    CSS_PATH = "tuitrain.tcss"
    TITLE = "tuitrain"
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        *,
        ascii_only: bool = False,
        run_id: str | None = None,
        store: RunStore | None = None,
        clock: Callable[[], float] = time.time,
        describe_machine: Callable[[], str] = describe_this_machine,
    ) -> None:
        no_color = "NO_COLOR" in os.environ  # Textual takes it out of the environment
        super().__init__(ansi_color=True if no_color else None)  # with it colours are dropped, without it turned to grey
        self.glyphs = ASCII if ascii_only else UNICODE
        self.clock = clock
        self.bridge = Bridge(store or RunStore(runs_root()), self.post_message, clock)
        self.frame_s = REMOTE_FRAME_S if os.environ.get("SSH_CONNECTION") else LOCAL_FRAME_S
        self.animation_level: Literal["none", "basic", "full"] = "none"
        self.exit_line = ""
        """What to print once the terminal is a terminal again."""
        self._first_run_id = run_id
        self.this: Machine | None = None
        """This machine, once the Plan screen asked for it."""
        self._planning: Planning | None = None
        self._describe_machine = describe_machine
        for each in theme.THEMES:
            self.register_theme(each)
        self.theme = theme.start_theme(ascii_only=ascii_only, no_color=no_color)
        if ascii_only:
            self.add_class("-ascii")

    def on_mount(self) -> None:
        """The list first; a run asked for on top of it."""
        self.home = RunsScreen()
        self.push_screen(self.home)
        self.bridge.start(self._describe_machine)
        if self._first_run_id is not None:
            self.open_run(self.bridge.store.get(self._first_run_id))

    def on_unmount(self) -> None:
        """End the threads."""
        self.bridge.stop()

    # --- services for screens -----------------------------------------------------------------------------------------

    def say(self, text: str, *, severity: Literal["information", "warning", "error"] = "information") -> None:
        """A toast. The text is data: no markup and no control sequence is read from it."""
        shown = clean_line(text)
        shown = to_ascii(shown) if self.glyphs.ascii_only else shown
        self.notify(shown, severity=severity, markup=False, timeout=6)

    def open_run(self, run: Run) -> None:
        """Show a run's dashboard."""
        self.push_screen(RunScreen(self.bridge.open(run)))

    def open_plan(self) -> None:
        """Show the Plan screen, with the form as it was left."""
        # the planner and the catalogue of presets come with it: 0.1 s that the first frame must not wait for
        from tuitrain.runs.home import presets_dir
        from tuitrain.tui.plan.reading import Sources
        from tuitrain.tui.plan.state import Planning
        from tuitrain.tui.plan.this_machine import compiles, measured
        from tuitrain.tui.screens.plan import PlanScreen

        if self._planning is None:
            sources = Sources(
                presets=presets_dir(), measured=lambda precision: measured(self.this, precision), compiles=compiles,
                host_bytes=lambda: None if self.this is None else self.this.memory_bytes,
            )  # fmt: skip
            self._planning = Planning(sources)
        self.push_screen(PlanScreen(self._planning))

    async def go_home(self) -> None:
        """Close everything above the list of runs."""
        while self.screen is not self.home and len(self.screen_stack) > 1:
            await self.pop_screen()

    # --- what threads say: nothing, once the screens are closing --------------------------------------------------------

    @_while_open
    def on_runs_listed(self, message: RunsListed) -> None:
        """For the list."""
        self.home.listed(message)

    @_while_open
    def on_machine_seen(self, message: MachineSeen) -> None:
        """For the first line."""
        self.home.machine = message.text
        self.home.paint()

    @_while_open
    def on_machine_known(self, message: MachineKnown) -> None:
        """For the Plan screen's `this`."""
        self.this = message.machine
        if isinstance(self.screen, TuiScreen):
            self.screen.machine_changed()

    @_while_open
    def on_run_grew(self, message: RunGrew) -> None:
        """The first events of a run just opened are shown at once, later ones at the next frame."""
        screen = self.screen
        if isinstance(screen, RunScreen) and screen.tail.run_folder.path == message.run_path and not screen.shown_steps:
            screen.paint()

    @_while_open
    def on_examples_news(self, message: ExamplesNews) -> None:
        """For the screen that shows examples, be it below a dialog."""
        for screen in self.screen_stack:
            if isinstance(screen, TuiScreen):
                screen.heard(message)

    @_while_open
    def on_job_said(self, message: JobSaid) -> None:
        """How far a job is: on the list's own line, so that nothing jumps; on other screens where they have a place for it."""
        self.home.said = message.text
        self.home.paint()
        if isinstance(self.screen, TuiScreen):
            self.screen.job_said()

    @_while_open
    def on_job_done(self, message: JobDone) -> None:
        """A job ended well."""
        self.home.said = ""
        self.home.paint()
        self.say(message.text)
        if isinstance(self.screen, TuiScreen):
            self.screen.machine_changed()
        if message.open_run is not None:
            self.open_run(Run(message.open_run))

    @_while_open
    def on_job_failed(self, message: JobFailed) -> None:
        """A job did not."""
        self.home.said = ""
        self.home.paint()
        if isinstance(self.screen, TuiScreen):
            self.screen.job_said()
        self.push_screen(ErrorScreen(message.message, message.hint))

    # --- actions that are the same on every screen --------------------------------------------------------------------

    async def action_quit(self) -> None:
        """Leave, and say what goes on without us."""
        live = self.bridge.live_runs()
        if live:
            self.exit_line = f"{live} run{'s keep' if live > 1 else ' keeps'} training; `tuitrain` re-attaches"
        self.exit()

    def action_help_quit(self) -> None:
        """Control-C: never kills, never quits by surprise."""
        self.say("q quits; training goes on without this window")

    def action_colours(self) -> None:
        """The next of our own colour tables."""
        names = [each.name for each in theme.THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]
        if isinstance(self.screen, TuiScreen):
            self.screen.paint()

    def action_command_palette(self) -> None:
        """The command palette, with a prompt of our own: Textual's ends in a character ASCII lacks."""
        if self.use_command_palette and not isinstance(self.screen, CommandPalette):
            self.push_screen(CommandPalette(id="--command-palette", placeholder="find an action, a run, a theme"))

    def action_palette(self) -> None:
        """The same, by our own key."""
        self.action_command_palette()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the screen, every run, every theme."""
        where = getattr(screen, "WHERE", "")
        for action in on_screen(where):
            if action.id == "palette":
                continue
            # The palette reads markup in what it is given: key names and run names must not look like any.
            tip = f"{action.tooltip}  (key {action.shown_key})" + (f"  = {action.cli.format(run='RUN')}" if action.cli else "")
            yield SystemCommand(action.label, tip, lambda call=action.call: self.call_later(screen.run_action, call))
        for run in self.home.runs or ():
            path = self.bridge.store.root / run.run_id
            name = clean_line(run.run_id).replace("[", "(")
            yield SystemCommand(f"Open {name}", run.badge.word.lower(), lambda path=path: self.open_run(Run(path)))
        yield SystemCommand("Theme", "Choose among all colour themes", self.action_change_theme)
