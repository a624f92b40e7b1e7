"""Launching a plan: the configuration as it will be written, where to, and whether to start it. Nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input

from tuitrain.text import clean_line
from tuitrain.tui.render.dialog import dialog, paragraphs
from tuitrain.tui.render.spans import BLANK, Line
from tuitrain.tui.screens.base import TuiModal
from tuitrain.tui.widgets.lines import Lines

_MOST_CELLS = 100
_FIXED_ROWS = 12


class PlanLaunchScreen(TuiModal[tuple[Path, bool] | None]):
    """Ask where to write. The result is the file written and whether to start it; None when it was left."""

    BINDINGS = [  # noqa: RUF012 - Textual's own way
        Binding("escape", "leave", "Leave"),
        Binding("ctrl+s", "write_only", "Only write", priority=True),
    ]

    def __init__(self, text: str, path: Path, notes: str) -> None:
        super().__init__()
        self._text, self._path, self._notes = text, path, notes
        self._wrong = ""

    def compose(self) -> ComposeResult:
        """The file and a line to change its place."""
        with Vertical(id="typed"):
            yield Lines("dialog", ascii_only=self.glyphs.ascii_only)
            yield Input(str(self._path), id="path", select_on_focus=False)

    def on_mount(self) -> None:
        """The path can be changed at once."""
        super().on_mount()
        self.query_one(Input).focus()

    def paint(self) -> None:
        """Show the file, what it leaves open, and the keys."""
        if not self.on_stage:
            return
        width = max(20, min(_MOST_CELLS, self.size.width - 2))
        self.query_one("#typed").styles.width = width
        notes = paragraphs(self._notes, width, "dim")
        shown = [line for line in self._text.splitlines() if line]
        room = max(2, self.size.height - _FIXED_ROWS - len(notes))
        cut = [f"... {len(shown) - room + 1} more lines"] if len(shown) > room else []
        body: list[Line] = [((each, "log"),) for each in (*shown[: room - len(cut)], *cut)]
        body += [BLANK, *notes, BLANK]
        keys = "enter writes the file and starts it, ctrl+s only writes it, esc leaves"
        body += [((self._wrong, "mark.guard"),) if self._wrong else ((keys, "dim"),), (("write to", "label"),)]
        box = self.query_one("#dialog", Lines)
        box.styles.width = width
        box.show(dialog("Launch this plan", body, (), 0, width, self.glyphs))

    @on(Input.Submitted)
    def start(self) -> None:
        """Write, and start."""
        self._write(start=True)

    def action_write_only(self) -> None:
        """Write, and leave it at that."""
        self._write(start=False)

    def _write(self, *, start: bool) -> None:
        path = Path(self.query_one(Input).value.strip()).expanduser()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(self._text)
        except FileExistsError:
            self._wrong = "that file exists, and is not overwritten: another name"
        except OSError as error:
            self._wrong = clean_line(f"cannot write there: {error.strerror or error}")
        else:
            self.dismiss((path, start))
            return
        self.paint()

    def action_leave(self) -> None:
        """Write nothing."""
        self.dismiss(None)


def free_path(folder: Path, name: str) -> Path:
    """The first name in the folder that no file has."""
    path, number = folder / f"{name}.toml", 2
    while path.exists():
        path, number = folder / f"{name}-{number}.toml", number + 1
    return path
