"""The footer: the keys that work here, as many as fit. What touches the job is marked apart from what changes the view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuitrain.tui.render.spans import Line, Span, fit


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One entry."""

    action: str
    key: str
    """As shown: 'z', '^p', 'space'."""
    label: str
    touches_job: bool = False
    keep: bool = False
    """Stays when it gets narrow, at the right end."""


def footer(keys: Sequence[Key], width: int) -> tuple[Line, dict[str, tuple[int, int]]]:
    """(line, action -> cells [from, to) for clicks)."""
    kept = [each for each in keys if each.keep]
    right = sum(len(each.key) + len(each.label) + 3 for each in kept)
    shown: list[Key] = []
    used = 0
    for each in keys:
        cells = len(each.key) + len(each.label) + 3
        if each.keep:
            continue
        if used + cells + right > width:
            break
        shown.append(each)
        used += cells
    spans: list[Span] = []
    places: dict[str, tuple[int, int]] = {}
    at = 0
    for index, each in enumerate([*shown, *kept]):
        if index == len(shown) and width - used - right > 0:
            spans.append((" " * (width - used - right), "footer"))
            at += width - used - right
        cells = len(each.key) + len(each.label) + 3
        spans += [(f" {each.key} ", "footer.job" if each.touches_job else "footer.key"), (f"{each.label} ", "footer")]
        places[each.action] = (at, at + cells)
        at += cells
    return fit(tuple(spans), width, "footer"), places
