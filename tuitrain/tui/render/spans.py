"""Lines of styled text: a span is (text, style name), a line is a tuple of spans. How a name looks is the theme's to say."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from tuitrain.tui.render.glyphs import Glyphs, to_ascii

Span: TypeAlias = tuple[str, str]
Line: TypeAlias = tuple[Span, ...]

BLANK: Line = ()
# Latin, dashes and dots, arrows, boxes and blocks, braille: one cell each. One match is cheaper than a look-up per character.
_ALL_NARROW = re.compile("[ -\u02ff\u2010-\u2027\u2190-\u2319\u2500-\u25fc\u2800-\u28ff]*").fullmatch


def line(text: str, style: str = "text") -> Line:
    """A line of one style."""
    return ((text, style),) if text else ()


@functools.cache
def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def text_width(text: str) -> int:
    """Terminal cells the text takes: wide characters take two, combining marks none."""
    return len(text) if text.isascii() or _ALL_NARROW(text) else sum(map(_char_width, text))


def line_width(spans: Line) -> int:
    """Terminal cells the line takes."""
    return sum(text_width(text) for text, _ in spans)


def cut_text(text: str, width: int, ellipsis: str = "") -> str:
    """As much of the text as fits into `width` cells, marked with `ellipsis` when it was cut."""
    if text_width(text) <= width:
        return text
    room, used, kept = max(0, width - text_width(ellipsis)), 0, []
    for char in text:
        used += _char_width(char)
        if used > room:
            break
        kept.append(char)
    return "".join(kept) + (ellipsis if width > 0 else "")


def cut(spans: Line, width: int) -> Line:
    """The first `width` cells of a line."""
    if line_width(spans) <= width:
        return spans
    kept: list[Span] = []
    for text, style in spans:
        if width <= 0:
            break
        piece = cut_text(text, width)
        width -= text_width(piece)
        if piece:
            kept.append((piece, style))
    return tuple(kept)


def fit(spans: Line, width: int, style: str = "text") -> Line:
    """The line cut or padded to exactly `width` cells."""
    missing = width - line_width(spans)
    if missing < 0:
        spans = cut(spans, width)
        missing = width - line_width(spans)
    return (*spans, (" " * missing, style)) if missing > 0 else spans


def spread(left: Line, right: Line, width: int, fill: Span = (" ", "text")) -> Line:
    """`left` and `right` at the two ends of a line; the right one goes when both do not fit."""
    room = width - line_width(left) - line_width(right)
    if room < 1:
        return fit(left, width)
    return (*left, (fill[0] * room, fill[1]), *right)


def beside(blocks: Sequence[tuple[Sequence[Line], int]], height: int, gap: int = 0) -> list[Line]:
    """Blocks of lines next to each other, each with its width, all `height` rows high."""
    rows: list[Line] = []
    for row in range(height):
        spans: list[Span] = []
        for index, (lines, width) in enumerate(blocks):
            if index and gap:
                spans.append((" " * gap, "text"))
            spans.extend(fit(lines[row] if row < len(lines) else BLANK, width))
        rows.append(tuple(spans))
    return rows


def join(parts: Iterable[Line], separator: Line) -> Line:
    """The non-empty parts with `separator` between them."""
    spans: list[Span] = []
    for part in parts:
        if part:
            spans.extend((*separator, *part) if spans else part)
    return tuple(spans)


def frame(
    lines: Sequence[Line],
    width: int,
    height: int,
    glyphs: Glyphs,
    *,
    title: Line = BLANK,
    right: Line = BLANK,
    foot: Line = BLANK,
    style: str = "frame",
) -> list[Line]:
    """The lines in a box of exactly `width` x `height` cells: a title and a note in its upper edge, a note in the lower one."""
    inner = max(0, width - 2)
    head = cut(title, max(0, inner - 3))
    edge: Line = ((glyphs.across, style), (" ", style), *head, (" ", style)) if head else ()
    note: Line = ((" ", style), *right, (" ", style), (glyphs.across, style)) if right else ()
    if line_width(edge) + line_width(note) > inner:
        note = ()
    top = spread(edge, note, inner, (glyphs.across, style)) if inner > line_width(edge) + line_width(note) else fit(edge, inner)
    rows: list[Line] = [((glyphs.top_left, style), *top, (glyphs.top_right, style))]
    side = (glyphs.down, style)
    rows += [(side, *fit(lines[row] if row < len(lines) else BLANK, inner), side) for row in range(max(0, height - 2))]
    below: Line = ((glyphs.across, style), (" ", style), *foot, (" ", style)) if foot and line_width(foot) + 4 <= inner else ()
    rows.append(
        ((glyphs.bottom_left, style), *below, (glyphs.across * (inner - line_width(below)) + glyphs.bottom_right, style))
    )
    return rows


def plain(lines: Iterable[Line], glyphs: Glyphs | None = None) -> str:
    """The lines as text, trailing spaces cut; ASCII when the glyphs are."""
    text = "\n".join("".join(part for part, _ in spans).rstrip() for spans in lines)
    return to_ascii(text) if glyphs is not None and glyphs.ascii_only else text
