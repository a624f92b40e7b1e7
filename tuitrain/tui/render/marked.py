"""Lines that know which number stands where: built from parts, each of which may name the figure it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.spans import Line, frame, text_width


class Part(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = "text"
    figure: str = ""
    """What the number is called where it can be explained; empty for words."""


class Hit(NamedTuple):
    """Where a figure stands."""

    row: int
    start: int
    end: int
    figure: str


@dataclass(slots=True)
class Marked:
    """Lines and the places of their figures."""

    lines: list[Line] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)

    def add(self, parts: Iterable[Part]) -> None:
        """One more line."""
        at, spans = 0, []
        for text, style, figure in parts:
            spans.append((text, style))
            end = at + text_width(text)
            if figure:
                self.hits.append(Hit(len(self.lines), at, end, figure))
            at = end
        self.lines.append(tuple(spans))

    def place(self, other: Marked, row: int, column: int) -> None:
        """Take over the hits of a block put at a row and column; its lines are the caller's to join."""
        self.hits += [Hit(hit.row + row, hit.start + column, hit.end + column, hit.figure) for hit in other.hits]

    def below(self, other: Marked) -> None:
        """Put another block under this one."""
        self.place(other, len(self.lines), 0)
        self.lines += other.lines

    def figure_at(self, row: int, column: int) -> str:
        """The figure under a cell; empty when there is none."""
        return next((hit.figure for hit in self.hits if hit.row == row and hit.start <= column < hit.end), "")

    def dimmed(self) -> Marked:
        """The same without emphasis: what is shown is not of the present form."""
        return Marked([tuple((text, "dim") for text, _ in row) for row in self.lines], self.hits)


def framed(block: Marked, width: int, height: int, glyphs: Glyphs, title: str, note: str = "", foot: str = "") -> Marked:
    """A block in a frame of exactly `width` x `height` cells."""
    lines = frame(
        block.lines, width, height, glyphs, title=((title, "title"),), right=((note, "dim"),) if note else (),
        foot=((foot, "dim"),) if foot else (),
    )  # fmt: skip
    boxed = Marked(lines)
    boxed.hits = [
        Hit(hit.row + 1, hit.start + 1, min(hit.end + 1, width - 1), hit.figure)
        for hit in block.hits
        if hit.row + 2 < height and hit.start + 2 < width
    ]
    return boxed


def row_of(label: str, parts: Sequence[Sequence[Part]], width: int, label_width: int, separator: str) -> list[Part]:
    """A label and as many whole parts as fit behind it: nothing is cut in the middle of a number."""
    row = [Part(f"{label:<{label_width}}", "label")]
    used = label_width
    for index, part in enumerate(parts):
        between = f" {separator} " if index else ""
        cells = len(between) + sum(text_width(each.text) for each in part)
        if used + cells > width:
            break
        row += ([Part(between, "dim")] if between else []) + list(part)
        used += cells
    return row
