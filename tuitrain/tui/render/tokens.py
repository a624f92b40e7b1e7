"""Tokens as lines: each in the style of its kind, and where there is no colour in marks of its kind.

    [trained]  ignored  {special}  [{special and trained}]  (padding)  ~cut off~

A view is `TokenView.to_dict()`: its texts can be shown as they are. Must not import Textual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tuitrain.data.inspect.visible import CONTINUED, NEWLINE, SPACE, TAB
from tuitrain.text import clean_line
from tuitrain.tui.render.format import count
from tuitrain.tui.render.glyphs import Glyphs, to_ascii
from tuitrain.tui.render.spans import Line, Span, cut_text, fit, join, line_width, text_width

KINDS: Final[dict[str, tuple[str, str, str]]] = {
    "trained": ("trained", "[", "]"),
    "special-trained": ("special trained", "[{", "}]"),
    "ignored": ("ignored", "", ""),
    "special-ignored": ("special", "{", "}"),
    "pad": ("padding", "(", ")"),
    "truncated": ("cut off", "~", "~"),
}
"""Of each kind its words, and what stands around it where colours do not tell."""
_ALTERNATING = ("trained", "ignored")
_GROUPED = 4
"""From so many on, padding is counted, not drawn."""
_TWINS: Final = str.maketrans(
    {NEWLINE: "\\n", TAB: "\\t", CONTINUED: "..", SPACE: "_"}
    | {chr(0x2400 + code): "^" + chr(64 + code) for code in range(32)}
    | {"\u2421": "^?"}
)


@dataclass(slots=True)
class TokenPage:
    """Lines of tokens, and on which line each token begins."""

    lines: list[Line] = field(default_factory=list)
    row_of: list[int] = field(default_factory=list)


def shown(text: str, glyphs: Glyphs) -> str:
    """A token's text in the character set at hand: what has no twin in ASCII becomes a question mark, one cell wide."""
    return to_ascii(text.translate(_TWINS)) if glyphs.ascii_only else text


@dataclass(slots=True)
class _Writer:
    """Fills lines of a width."""

    width: int
    page: TokenPage
    spans: list[Span] = field(default_factory=list)
    used: int = 0

    def add(self, text: str, style: str) -> int:
        """A piece that is not broken while it fits a line; newlines in it are kept. Returns the line it begins on."""
        before, first = len(self.page.lines), -1
        for number, part in enumerate(text.split("\n")):
            if number:
                self.end_line()
            cells = text_width(part)
            if self.used and self.used + cells > self.width and cells <= self.width:
                self.end_line()
            while part:
                piece = cut_text(part, self.width - self.used) or (part[0] if not self.used else "")
                if piece:
                    first = len(self.page.lines) if first < 0 else first
                    self.spans.append((piece, style))
                    self.used += text_width(piece)
                    part = part[len(piece) :]
                if part:
                    self.end_line()
        return before if first < 0 else first

    def end_line(self) -> None:
        """Begin another one."""
        self.page.lines.append(tuple(self.spans))
        self.spans, self.used = [], 0


def token_page(
    view: Mapping[str, Any],
    width: int,
    glyphs: Glyphs,
    *,
    marks: bool,
    cursor: int | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
) -> TokenPage:
    """All tokens of a view. `marks`: colours cannot be told apart. `names` says what borders begin: one name is numbered."""
    spans, page = view["spans"], TokenPage()
    names = names or {}
    borders = {each["index"]: each["kind"] for each in view["boundaries"] if names.get(each["kind"])}
    begun: Counter[str] = Counter()
    writer, odd = _Writer(max(8, width), page), False
    pads_until = 0
    for index, (text, kind, _) in enumerate(spans):
        if index in borders:
            if writer.spans:
                writer.end_line()
            begun[borders[index]] += 1
            named, number = names[borders[index]], begun[borders[index]]
            name = f"{named[0]} {number}" if len(named) == 1 else named[(number - 1) % len(named)]
            page.lines.append(_border(name, width, glyphs))
        if index < pads_until:
            page.row_of.append(page.row_of[-1])
            continue
        before = spans[index - 1][1] if index and index not in borders else ""
        behind = spans[index + 1][1] if index + 1 < len(spans) and index + 1 not in borders else ""
        if kind == "pad" and (end := _end_of_padding(spans, index)) - index >= _GROUPED:
            pads_until, behind = end, ""
            text = f"{count(end - index)} x {clean_line(text)}"
            text = text if marks else f" {text} "
            selected = cursor is not None and index <= cursor < end
        else:
            selected = cursor == index
        odd = kind == before and not odd
        style = f"token.{kind}.odd" if odd and kind in _ALTERNATING else f"token.{kind}"
        opened, closed = _around(kind, before, behind, selected=selected, glyphs=glyphs) if marks else ("", "")
        opened = opened.removeprefix(glyphs.down) if not writer.used else opened
        body = shown(text, glyphs)
        line_ends = "\n" if body.endswith("\n") else ""  # a mark belongs before the break, not after it
        text = opened + body.removesuffix("\n") + closed + line_ends
        page.row_of.append(writer.add(text, "token.cursor" if selected else style))
    if writer.spans or not page.lines:
        writer.end_line()
    return page


def _end_of_padding(spans: Any, start: int) -> int:
    return next((place for place in range(start, len(spans)) if spans[place][1] != "pad"), len(spans))


def _around(kind: str, before: str, behind: str, *, selected: bool, glyphs: Glyphs) -> tuple[str, str]:
    """What stands before and behind a token: the marks of its kind where a stretch begins or ends, a bar between its tokens."""
    _, begin, end = KINDS.get(kind, KINDS["ignored"])
    if selected:
        return (begin if kind != before else "") + ">", "<" + (end if kind != behind else "")
    return begin if kind != before else glyphs.down, end if kind != behind else ""


def _border(name: str, width: int, glyphs: Glyphs) -> Line:
    head = f"{glyphs.across * 2} {name} "
    return ((cut_text(head + glyphs.across * max(0, width - text_width(head)), width), "frame.active"),)


def legend(view: Mapping[str, Any], width: int, *, marks: bool) -> Line:
    """The kinds that occur, as they are drawn, with how many tokens are of each; without the numbers where it is narrow."""
    counted = Counter(kind for _, kind, _ in view["spans"])
    names: list[Line] = []
    numbers: list[Line] = []
    for kind, (words, begin, end) in KINDS.items():
        if counted[kind]:
            names.append(((f"{begin}{words}{end}" if marks else f" {words} ", f"token.{kind}"),))
            numbers.append((*names[-1], (f" {count(counted[kind])}", "value")))
    for parts, gap in ((numbers, "  "), (numbers, " "), (names, " ")):
        row = join(parts, ((gap, "text"),))
        if line_width(row) <= width:
            break
    return fit(row, width)


def about_token(
    view: Mapping[str, Any], index: int, width: int, glyphs: Glyphs, learns: str | None = None, position: int | None = None
) -> Line:
    """What is known of one token, as far as it fits: its number, text, kind, in a sequence what is learnt after it, its id."""
    text, kind, token = view["spans"][index]
    words = KINDS.get(kind, KINDS["ignored"])[0]
    parts: list[Line] = [
        ((f"token {count(index + 1)} of {count(len(view['spans']))}", "label"),),
        ((f"'{shown(text.rstrip(chr(10)), glyphs)}'", "title"),),
        ((words, f"token.{kind}"),),
    ]
    if position is not None and kind != "pad":
        said = f"'{shown(learns, glyphs)}'" if learns is not None else "nothing"
        parts.append((("learns ", "label"), (said, "title" if learns is not None else "dim")))
    parts.append(((f"id {int(token)}", "value"),))
    if position is not None and kind != "pad":
        parts.append(((f"position {count(position)}", "label"),))
    between: Line = ((f" {glyphs.separator} ", "dim"),)
    while len(parts) > 1 and line_width(join(parts, between)) > width:
        parts.pop()
    return fit(join(parts, between), width)
