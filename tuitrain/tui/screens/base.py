"""What all screens share: the app with its services, the character set, and actions that are the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.screen import ModalScreen, Screen, ScreenResultType

from tuitrain.tui.render.glyphs import Glyphs

if TYPE_CHECKING:
    from tuitrain.tui.app import TuitrainApp
    from tuitrain.tui.messages import ExamplesNews


class TuiScreen(Screen[None]):
    """A full screen."""

    WHERE: ClassVar[str] = ""
    """The screen's name in the action registry."""
    AUTO_FOCUS = None

    @property
    def tui(self) -> TuitrainApp:
        """The app, by its own type."""
        return cast("TuitrainApp", self.app)

    @property
    def glyphs(self) -> Glyphs:
        """The character set in use."""
        return self.tui.glyphs

    @property
    def on_stage(self) -> bool:
        """Whether there is anything to paint on: messages come before the first compose and after the last child is gone."""
        return self.is_mounted and self.is_current and bool(self.children)

    def paint(self) -> None:
        """Show the present state; called by timers, keys and resizes."""

    def machine_changed(self) -> None:
        """More is known of this machine than before: it was looked at, or a job ended that may have measured it."""

    def job_said(self) -> None:
        """What a job is doing changed: `home.said`."""

    def heard(self, message: ExamplesNews) -> None:
        """What a thread said of a run's examples."""

    def on_lines_resized(self) -> None:
        """A pane has another size."""
        self.call_after_refresh(self.paint)

    def on_screen_resume(self) -> None:
        """Coming back: what changed meanwhile is shown at once."""
        self.paint()

    async def action_back(self) -> None:
        """Leave for the screen below."""
        self.dismiss()

    async def action_home(self) -> None:
        """Back to the list of runs."""
        await self.tui.go_home()

    async def action_help(self) -> None:
        """All keys of this screen."""
        from tuitrain.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.WHERE))


class TuiModal(ModalScreen[ScreenResultType]):
    """A dialog over a screen."""

    AUTO_FOCUS = None

    @property
    def tui(self) -> TuitrainApp:
        """The app, by its own type."""
        return cast("TuitrainApp", self.app)

    @property
    def glyphs(self) -> Glyphs:
        """The character set in use."""
        return self.tui.glyphs

    @property
    def on_stage(self) -> bool:
        """Whether there is anything to paint on."""
        return self.is_mounted and bool(self.children)

    def paint(self) -> None:
        """Show the dialog."""

    def on_mount(self) -> None:
        """First paint."""
        self.call_after_refresh(self.paint)

    def on_lines_resized(self) -> None:
        """Another size."""
        self.call_after_refresh(self.paint)

    def on_resize(self) -> None:
        """Another terminal size."""
        self.call_after_refresh(self.paint)
