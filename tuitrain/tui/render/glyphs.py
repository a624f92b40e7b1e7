"""Every non-ASCII character the interface draws, and its ASCII twin. Renderers take their characters from here only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Marker = Literal["braille", "block", "ascii"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Glyphs:
    """One character set."""

    marker: Marker
    """What charts are drawn with."""
    top_left: str
    top_right: str
    bottom_left: str
    bottom_right: str
    across: str
    down: str
    axis_tick: str
    axis_corner: str
    separator: str
    """Between the parts of a line."""
    dash: str
    """Between the ends of a range."""
    ellipsis: str
    bar_left: str
    bar_right: str
    bar_full: str
    bar_parts: str
    """A cell filled by 1/n, 2/n, ... (n - 1)/n."""
    bar_empty: str
    spark: str
    """Levels of a sparkline, lowest first."""
    up: str
    down_arrow: str
    same: str
    right: str
    running: str
    waiting: str
    paused: str
    finished: str
    stopped: str
    failed: str
    unknown: str
    point: str
    """An evaluation in the picture."""
    mark_eval: str
    mark_checkpoint: str
    mark_resume: str
    mark_guard: str
    mark_nan: str
    legend_line: str
    legend_plan: str
    cursor_line: str
    cursor_row: str
    """In front of the selected row of a list."""

    @property
    def ascii_only(self) -> bool:
        """Whether nothing but ASCII may reach the terminal."""
        return self.marker == "ascii"


UNICODE: Final = Glyphs(
    marker="braille",
    top_left="╭",
    top_right="╮",
    bottom_left="╰",
    bottom_right="╯",
    across="─",
    down="│",
    axis_tick="┤",
    axis_corner="└",
    separator="·",
    dash="–",  # noqa: RUF001 - an en dash is what a range takes
    ellipsis="…",
    bar_left="▕",
    bar_right="▏",
    bar_full="█",
    bar_parts="▏▎▍▌▋▊▉",
    bar_empty="░",
    spark="▁▂▃▄▅▆▇█",
    up="▲",
    down_arrow="▼",
    same="=",
    right="▸",
    running="●",
    waiting="◐",
    paused="‖",
    finished="✔",
    stopped="■",
    failed="✖",
    unknown="○",
    point="●",
    mark_eval="┴",
    mark_checkpoint="▲",
    mark_resume="↻",
    mark_guard="!",
    mark_nan="✖",
    legend_line="━",
    legend_plan="···",
    cursor_line="│",
    cursor_row="▌",
)

ASCII: Final = Glyphs(
    marker="ascii",
    top_left="+",
    top_right="+",
    bottom_left="+",
    bottom_right="+",
    across="-",
    down="|",
    axis_tick="|",
    axis_corner="+",
    separator="|",
    dash="-",
    ellipsis="~",
    bar_left="[",
    bar_right="]",
    bar_full="#",
    bar_parts="",
    bar_empty=".",
    spark="_.-=+*#",
    up="^",
    down_arrow="v",
    same="=",
    right=">",
    running="*",
    waiting="~",
    paused='"',
    finished="+",
    stopped="#",
    failed="X",
    unknown="o",
    point="o",
    mark_eval="'",
    mark_checkpoint="^",
    mark_resume="R",
    mark_guard="!",
    mark_nan="X",
    legend_line="-",
    legend_plan="...",
    cursor_line="|",
    cursor_row=">",
)

_TO_ASCII: Final = str.maketrans({"·": "|", "–": "-", "—": "-", "…": "~", "×": "x", "‘": "'", "’": "'", "“": '"', "”": '"'})  # noqa: RUF001


def to_ascii(text: str) -> str:
    """The text in ASCII: what has a twin becomes it, everything else a question mark."""
    return text if text.isascii() else text.translate(_TO_ASCII).encode("ascii", "replace").decode()
