"""Token views, and serving compared with training, as HTML. Readable without colours: each kind has a form of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tuitrain.data.inspect.markup import number, shown
from tuitrain.data.inspect.token_view import KINDS

MAX_TOKENS: Final = 4000
"""Drawn per example, and MAX_ROWS per comparison; what is left out is counted on the page."""
MAX_ROWS: Final = 400
_CONTEXT: Final = 3
"""Equal tokens drawn on each side of a difference."""
_CHANGES: Final = {"equal": "same", "replace": "differs", "delete": "only serving", "insert": "only training"}
_BORDERS: Final = {"document": "document", "pack": "pack"}

LEGEND: Final = (
    '<p class="legend">'
    + "".join(f'<span class="{kind}">{kind.replace("-", ", ")}</span>' for kind in KINDS)
    + "".join(f'<b class="{kind}">{name} begins</b>' for kind, name in _BORDERS.items())
    + " Hover over a token for its id.</p>"
)


def view(raw: dict[str, Any]) -> str:
    """One `TokenView.to_dict()`."""
    borders = {each["index"]: each["kind"] for each in raw["boundaries"] if each["kind"] in _BORDERS}
    parts = []
    for place, (text, kind, token) in enumerate(raw["spans"][:MAX_TOKENS]):
        if place in borders:
            parts.append(f'<b class="{borders[place]}">{_BORDERS[borders[place]]}</b>')
        name = kind if kind in KINDS else "ignored"
        parts.append(f'<span class="{name}" title="{int(token)} {name}">{shown(text)}</span>')
    left = len(raw["spans"]) - MAX_TOKENS
    more = f"<p>... and {number(left)} more tokens</p>" if left > 0 else ""
    return f'<div class="tokens">{"".join(parts)}</div>{more}'


def diff(raw: dict[str, Any]) -> str:
    """One `TokenDiff.to_dict()`: the differences, and a little of what is equal around them."""
    if raw["identical"]:
        return f"<p>Identical: {number(int(raw['serving_tokens']))} tokens.</p>"
    counts = f"{number(int(raw['serving_tokens']))} tokens when serving, {number(int(raw['training_tokens']))} in training"
    text = f"<p>They differ from token {number(int(raw['common_prefix']))} on (counted from 0): {counts}.</p>"
    head = "<tr><th>serving</th><th>id</th><th>text</th><th>training</th><th>id</th><th>text</th><th></th></tr>"
    drawn = list(_drawn(raw["rows"]))
    rows = "".join(_row(each) for each in drawn[:MAX_ROWS])
    more = f"<p>... and {number(len(drawn) - MAX_ROWS)} more rows</p>" if len(drawn) > MAX_ROWS else ""
    return f'{text}<table class="diff">{head}{rows}</table>{more}'


def _drawn(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any] | int]:
    """The rows to draw, and how many equal ones were left out between them."""
    near = {
        place + offset
        for place, row in enumerate(rows)
        if row["change"] != "equal"
        for offset in range(-_CONTEXT, _CONTEXT + 1)
    }
    skipped = 0
    for place, row in enumerate(rows):
        if place not in near:
            skipped += 1
            continue
        if skipped:
            yield skipped
            skipped = 0
        yield row
    if skipped:
        yield skipped


def _row(row: dict[str, Any] | int) -> str:
    if isinstance(row, int):
        return f'<tr><td colspan="7">... {number(row)} equal ...</td></tr>'
    change = row["change"] if row["change"] in _CHANGES else "replace"
    keys = ("serving_index", "serving_id", "serving_text", "training_index", "training_id", "training_text")
    cells = "".join(f"<td>{'' if row[key] is None else shown(row[key])}</td>" for key in keys)
    return f'<tr class="{change}">{cells}<td>{_CHANGES[change]}</td></tr>'
