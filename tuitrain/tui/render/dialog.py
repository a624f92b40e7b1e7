"""Dialogs as lines: what it is about, the choices with what each would do, the one selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.spans import BLANK, Line, fit, frame

DIALOG_CELLS = 74


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One way out of a dialog."""

    id: str
    label: str
    consequence: str = ""
    danger: bool = False


def dialog_width(screen_width: int) -> int:
    """Cells of a dialog on a screen."""
    return max(20, min(DIALOG_CELLS, screen_width - 2))


def dialog(
    title: str,
    body: Sequence[Line],
    choices: Sequence[Choice],
    selected: int,
    width: int,
    glyphs: Glyphs,
    *,
    style: str = "frame.active",
) -> list[Line]:
    """A framed dialog."""
    inner = width - 2
    rows: list[Line] = [BLANK, *(_indented(each) for each in body), BLANK]
    for index, choice in enumerate(choices):
        on = index == selected
        mark = glyphs.cursor_row if on else " "
        label = fit(((f" {mark} ", "cursor.row"), (choice.label, "bad" if choice.danger else "title")), inner)
        rows.append(tuple((text, f"selected.{name}") for text, name in label) if on else label)
        rows += [((f"     {row}", "dim"),) for row in fill(choice.consequence, inner - 6)] if choice.consequence else []
    if choices:
        rows.append(BLANK)
    return frame(rows, width, len(rows) + 2, glyphs, title=((title, "title"),), style=style)


def paragraphs(text: str, width: int, style: str = "text") -> list[Line]:
    """Text wrapped for a dialog of `width` cells."""
    return [((row, style),) for row in fill(text, width - 4)]


def _indented(spans: Line) -> Line:
    return ((" ", "text"), *spans)
