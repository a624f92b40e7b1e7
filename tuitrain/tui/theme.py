"""Colours: blue against orange, which every kind of colour blindness tells apart. A state is never told by colour alone.

Renderers name styles; the tables here say how a name looks in a dark, a light and a 16-colour terminal.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

Palette = Literal["dark", "light", "ansi"]

DARK: Final = Theme(
    name="tuitrain-dark",
    primary="#5aa9ff",
    secondary="#ff9e3d",
    warning="#ff9e3d",
    error="#ff7043",
    success="#5aa9ff",
    accent="#ff9e3d",
    foreground="#d5dbe3",
    background="#0d1117",
    surface="#141a22",
    panel="#1b232d",
    dark=True,
)
LIGHT: Final = Theme(
    name="tuitrain-light",
    primary="#0b5cad",
    secondary="#b35900",
    warning="#b35900",
    error="#b3330f",
    success="#0b5cad",
    accent="#b35900",
    foreground="#1f2328",
    background="#ffffff",
    surface="#f4f6f8",
    panel="#e8ecf0",
    dark=False,
)
ANSI: Final = replace(
    BUILTIN_THEMES["ansi-dark"], name="tuitrain-ansi", secondary="ansi_yellow", success="ansi_blue", accent="ansi_yellow"
)
THEMES: Final = (DARK, LIGHT, ANSI)

_COLUMNS: Final = ("dark", "light", "ansi")
_STYLES: Final[Mapping[str, tuple[str, str, str]]] = {
    "text": ("#d5dbe3", "#1f2328", "default"),
    "dim": ("#8a94a3", "#5c6672", "bright_black"),
    "title": ("bold #eef2f7", "bold #1f2328", "bold"),
    "value": ("#eef2f7", "#1f2328", "default"),
    "value.big": ("bold #ffffff", "bold #000000", "bold"),
    "label": ("#8a94a3", "#5c6672", "default"),
    "frame": ("#3a4552", "#c2cad3", "bright_black"),
    "frame.active": ("#4f86bd", "#6f9fd0", "blue"),
    "axis": ("#566373", "#a3adb8", "bright_black"),
    "axis.label": ("#8a94a3", "#5c6672", "default"),
    "series.blue": ("#5aa9ff", "#0b5cad", "bright_blue"),
    "series.blue.raw": ("#2c5382", "#a9cbf0", "blue"),
    "series.orange": ("#ff9e3d", "#b35900", "bright_yellow"),
    "series.orange.raw": ("#7d5226", "#f0cba6", "yellow"),
    "plan": ("#b9c2cd", "#7a8490", "default"),
    "abandoned": ("#4b535e", "#c9ced4", "bright_black"),
    "point": ("#ff9e3d", "#b35900", "bright_yellow"),
    "mark.eval": ("#566373", "#8a94a3", "bright_black"),
    "mark.checkpoint": ("#5aa9ff", "#0b5cad", "bright_blue"),
    "mark.resume": ("bold #ff9e3d", "bold #b35900", "bold yellow"),
    "mark.guard": ("bold #ff7043", "bold #b3330f", "bold red"),
    "mark.nan": ("bold #ff7043", "bold #b3330f", "bold red"),
    "cursor": ("#d5dbe3", "#1f2328", "default"),
    "readout": ("bold #eef2f7", "bold #1f2328", "bold"),
    "good": ("#5aa9ff", "#0b5cad", "bright_blue"),
    "bad": ("#ff9e3d", "#b35900", "bright_yellow"),
    "alert": ("bold #ff9e3d", "bold #b35900", "bold yellow"),
    "bar": ("#5aa9ff", "#0b5cad", "bright_blue"),
    "bar.edge": ("#566373", "#a3adb8", "bright_black"),
    "bar.rest": ("#2c3743", "#d7dde3", "bright_black"),
    "tab": ("#8a94a3", "#5c6672", "default"),
    "tab.on": ("bold #5aa9ff", "bold #0b5cad", "bold bright_blue"),
    "log": ("#aab4c0", "#3d4650", "default"),
    "prompt": ("bold #ff9e3d", "bold #b35900", "bold yellow"),
    "sample": ("#d5dbe3", "#1f2328", "default"),
    "state.running": ("bold #5aa9ff", "bold #0b5cad", "bold bright_blue"),
    "state.waiting": ("bold #b9c2cd", "bold #5c6672", "bold"),
    "state.paused": ("bold #ff9e3d", "bold #b35900", "bold yellow"),
    "state.finished": ("#5aa9ff", "#0b5cad", "bright_blue"),
    "state.stopped": ("#8a94a3", "#5c6672", "default"),
    "state.failed": ("bold #ff7043", "bold #b3330f", "bold red"),
    "footer": ("#aab4c0 on #1b232d", "#3d4650 on #e8ecf0", "default"),
    "footer.key": ("bold #5aa9ff on #1b232d", "bold #0b5cad on #e8ecf0", "bold bright_blue"),
    "footer.job": ("bold #ff9e3d on #1b232d", "bold #b35900 on #e8ecf0", "bold yellow"),
    # Segments of the memory bar: a letter on its colour. Okabe and Ito's hues, which colour blindness keeps apart.
    "mem.weights": ("#cfe6ff on #1f5f9e", "#ffffff on #2a78bf", "black on bright_blue"),
    "mem.gradients": ("#0d2b3d on #56b4e9", "#0d2b3d on #8fd0f5", "black on bright_cyan"),
    "mem.optimizer": ("#d9fff2 on #00765a", "#ffffff on #008f6d", "black on bright_green"),
    "mem.gathered": ("#3a1f30 on #cc79a7", "#3a1f30 on #e0a3c4", "black on bright_magenta"),
    "mem.activations": ("#3a2500 on #e69f00", "#3a2500 on #f2b942", "black on bright_yellow"),
    "mem.head": ("#fff0e6 on #b84a00", "#ffffff on #c85a10", "black on bright_red"),
    "mem.buffers": ("#24220a on #d8cf4a", "#24220a on #eae375", "black on white"),
    "mem.runtime": ("#e8ecf0 on #566373", "#ffffff on #7a8490", "black on white"),
    "mem.reserve": ("#aab4c0 on #2c3743", "#3d4650 on #d7dde3", "bright_black"),
    # Tokens: a background is trained, orange is special, struck out is cut off; .odd sets a token apart from its neighbour.
    "token.trained": ("#eef2f7 on #1d4f80", "#0b2a4a on #bcdcff", "bold"),
    "token.trained.odd": ("#eef2f7 on #2a6aa8", "#0b2a4a on #93c5fb", "bold bright_blue"),
    "token.ignored": ("#8a94a3", "#5c6672", "default"),
    "token.ignored.odd": ("#aab4c0", "#7a8490", "bright_black"),
    "token.special-trained": ("bold #ffd9ad on #1d4f80", "bold #8a3f00 on #bcdcff", "bold bright_yellow"),
    "token.special-ignored": ("#ff9e3d", "#b35900", "yellow"),
    "token.pad": ("#566373", "#a3adb8", "bright_black"),
    "token.truncated": ("strike #ff7043", "strike #b3330f", "strike bright_red"),
    "token.cursor": ("bold #0d1117 on #ff9e3d", "bold #ffffff on #b35900", "reverse"),
    "caret": ("#0d1117 on #5aa9ff", "#ffffff on #0b5cad", "reverse"),
    "cursor.row": ("bold #ff9e3d", "bold #b35900", "bold yellow"),
}
_SELECTED: Final = {"dark": "on #1f2b3a", "light": "on #dbe8f7", "ansi": "bold"}
STYLE_NAMES: Final = frozenset(_STYLES)


@functools.cache
def style(name: str, palette: Palette) -> Style:
    """How a style name looks. 'selected.X' is X on the selected row."""
    if name.startswith("selected."):
        return style(name.removeprefix("selected."), palette) + Style.parse(_SELECTED[palette])
    return Style.parse(_STYLES[name][_COLUMNS.index(palette)])


def palette_of(theme: Theme) -> Palette:
    """The table for a theme, ours or any other of Textual's."""
    if theme.ansi:
        return "ansi"
    return "dark" if theme.dark else "light"


def start_theme(*, ascii_only: bool, no_color: bool) -> str:
    """The theme to begin with. Without colour, or with a plain terminal, the terminal's own 16 colours are used."""
    return ANSI.name if ascii_only or no_color else DARK.name
