"""All keys of a screen, what they do, and the command that does the same."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding

from tuitrain.tui.actions import Action, on_screen
from tuitrain.tui.render.dialog import dialog_width
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.spans import BLANK, Line
from tuitrain.tui.screens.base import TuiModal
from tuitrain.tui.widgets.pager import Pager

_KEY_CELLS = 16


def help_lines(where: str, glyphs: Glyphs, width: int) -> list[Line]:
    """The registry as text, grouped by what a key touches."""
    actions = on_screen(where)
    rows: list[Line] = []
    for title, group in (
        ("On this screen", [each for each in actions if not each.touches_job and each.footer]),
        ("The job (upper case)", [each for each in actions if each.touches_job]),
        ("More", [each for each in actions if not each.touches_job and not each.footer]),
    ):
        if group:
            rows += [BLANK, ((f" {title}", "title"),)]
            for action in group:
                rows += _entry(action, width)
    if where in ("run", "chart"):
        rows += [BLANK, ((" Marks on the axis", "title"),), *_marks(glyphs)]
    return rows[1:]


def _entry(action: Action, width: int) -> list[Line]:
    keys = ", ".join(dict.fromkeys([action.shown_key, *(_shown(key) for key in action.keys.split(","))]))
    text = fill(action.tooltip, width - _KEY_CELLS - 2)
    rows: list[Line] = [((f"  {keys:<{_KEY_CELLS}}", "footer.job" if action.touches_job else "tab.on"), (text[0], "text"))]
    rows += [((" " * (_KEY_CELLS + 2) + more, "text"),) for more in text[1:]]
    if action.cli:
        rows.append(((" " * (_KEY_CELLS + 2) + action.cli.format(run="RUN"), "dim"),))
    return rows


def _shown(key: str) -> str:
    """Textual's name of a key as people write it."""
    names = {
        "question_mark": "?", "colon": ":", "full_stop": ".", "comma": ",", "plus": "+", "equals_sign": "=", "minus": "-",
        "left_square_bracket": "[", "right_square_bracket": "]", "escape": "esc", "pageup": "pgup", "pagedown": "pgdn",
        "slash": "/",
    }  # fmt: skip
    return names.get(key, key)


def _marks(glyphs: Glyphs) -> list[Line]:
    table = (
        (glyphs.mark_eval, "mark.eval", "evaluation"),
        (glyphs.mark_checkpoint, "mark.checkpoint", "checkpoint"),
        (glyphs.mark_resume, "mark.resume", "resumed or rolled back to here; what was given up is dimmed"),
        (glyphs.mark_guard, "mark.guard", "a guard tripped"),
        (glyphs.mark_nan, "mark.nan", "the value is not a number"),
    )
    return [((f"  {glyph:<{_KEY_CELLS}}", style), (text, "text")) for glyph, style, text in table]


class HelpScreen(TuiModal[None]):
    """Help for the screen below."""

    BINDINGS = [  # noqa: RUF012 - Textual's own way
        Binding("escape,question_mark,f1,q,enter", "leave", "Close"),
        Binding("up,k", "move(-1)", "Up"),
        Binding("down,j", "move(1)", "Down"),
        Binding("pageup,b", "move(-15)", "Page up"),
        Binding("pagedown,f,space", "move(15)", "Page down"),
    ]

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def compose(self) -> ComposeResult:
        """A pager."""
        yield Pager("help", self.glyphs)

    def paint(self) -> None:
        """Show the keys."""
        if not self.on_stage:
            return
        pager = self.query_one(Pager)
        pager.styles.width = dialog_width(self.size.width)
        rows = help_lines(self._where, self.glyphs, dialog_width(self.size.width) - 2)
        pager.styles.height = min(len(rows) + 2, max(5, self.size.height - 2))
        pager.fill(rows, (("Keys", "title"),), "esc closes")

    def action_move(self, by: int) -> None:
        """Scroll."""
        self.query_one(Pager).move(lambda offset: offset + by)

    def action_leave(self) -> None:
        """Close."""
        self.dismiss()
