"""Serving beside training as lines: a row for each place of the alignment. A comparison is `TokenDiff.to_dict()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tuitrain.tui.render.format import count
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.spans import BLANK, Line, cut_text, fit
from tuitrain.tui.render.tokens import shown

CHANGES: Final[dict[str, tuple[str, str, str]]] = {
    "equal": ("=", "same", "text"), "replace": ("!", "differs", "state.failed"),
    "delete": ("<", "only serving", "alert"), "insert": (">", "only training", "alert"),
}  # fmt: skip
"""Of each change its sign, its word, its style."""
_CONTEXT = 4
"""Equal rows shown on each side of a difference; longer stretches are counted."""
_INDEX_CELLS, _ID_CELLS = 5, 7


def diff_lines(diff: Mapping[str, Any], width: int, glyphs: Glyphs) -> list[Line]:
    """What is the same, what differs, and the tokens of both sides."""
    rows: list[Line] = [_verdict(diff, glyphs), BLANK]
    side = max(_INDEX_CELLS + _ID_CELLS + 4, (width - 3) // 2)
    head = f"{'token':>{_INDEX_CELLS}}{'id':>{_ID_CELLS}}  text"
    rows.append(fit(((fit_text(f"{head}, serving", side), "label"), ("   ", "text"), (f"{head}, training", "label")), width))
    for each in _drawn(diff["rows"], whole=bool(diff["identical"])):
        if isinstance(each, int):
            rows.append((("." * 3 + f" {count(each)} equal " + "." * 3, "dim"),))
            continue
        sign, _, style = CHANGES.get(each["change"], CHANGES["replace"])
        sides = [_side(each, name, side, glyphs) for name in ("serving", "training")]
        body = "dim" if each["change"] == "equal" else style
        rows.append(fit(((sides[0], body), (f" {sign} ", style), (sides[1], body)), width))
    return rows


def _verdict(diff: Mapping[str, Any], glyphs: Glyphs) -> Line:
    """Whether serving sends what training saw, in a line with its sign."""
    serving, training = int(diff["serving_tokens"]), int(diff["training_tokens"])
    if diff["identical"]:
        return (
            (f"{glyphs.finished} identical: ", "good"),
            (f"serving sends the {count(serving)} tokens that training saw", "text"),
        )
    differing = sum(row["change"] != "equal" for row in diff["rows"])
    return (
        (f"{glyphs.failed} they differ ", "state.failed"),
        (f"from token {count(int(diff['common_prefix']) + 1)} on, in {count(differing)} places: ", "text"),
        (f"{count(serving)} tokens when serving, {count(training)} in training", "text"),
    )


def diff_legend(width: int) -> Line:
    """What the signs between the columns stand for."""
    spans = [part for sign, words, style in CHANGES.values() for part in ((f" {sign} ", style), (f"{words} ", "dim"))]
    return fit(tuple(spans), width)


def _side(row: Mapping[str, Any], name: str, width: int, glyphs: Glyphs) -> str:
    if row[f"{name}_index"] is None:
        return " " * width
    text = shown(str(row[f"{name}_text"]), glyphs)
    head = f"{int(row[f'{name}_index']) + 1:>{_INDEX_CELLS}}{int(row[f'{name}_id']):>{_ID_CELLS}}  "
    return fit_text(head + cut_text(text, max(1, width - len(head)), glyphs.ellipsis), width)


def fit_text(text: str, width: int) -> str:
    """The text cut or padded to a width."""
    return "".join(part for part, _ in fit(((text, "text"),), width))


def _drawn(rows: Sequence[Mapping[str, Any]], *, whole: bool) -> Iterator[Mapping[str, Any] | int]:
    """The rows to draw, and how many equal ones were left out between them."""
    changed = [place for place, row in enumerate(rows) if row["change"] != "equal"]
    near = {place + offset for place in changed for offset in range(-_CONTEXT, _CONTEXT + 1)}
    skipped = 0
    for place, row in enumerate(rows):
        if not whole and place not in near:
            skipped += 1
            continue
        if skipped:
            yield skipped
            skipped = 0
        yield row
    if skipped:
        yield skipped
