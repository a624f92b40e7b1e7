"""The whole of some training examples as lines: facts, findings, lengths, turns, copies, leaks, languages.

The report is that of `tuitrain.data.inspect.build`; its schema stands in `tuitrain.data.inspect.html`. All text is untrusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tuitrain.data.chat.findings import Finding
from tuitrain.text import clean_line
from tuitrain.tui.render.flight import finding_lines
from tuitrain.tui.render.format import count, percent
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.spans import BLANK, Line

_NAME_CELLS, _LONG_NAME_CELLS = 16, 24
_NAMED = 5
"""Groups of copies, leaks and orders of turns shown."""
_LANGUAGES = 8
_BAR_CELLS = 40


def report_lines(report: Mapping[str, Any], width: int, glyphs: Glyphs) -> list[Line]:
    """Everything, under headings; what a report lacks has none."""
    sections: tuple[tuple[str, str, Callable[[Any], list[Line]]], ...] = (
        ("", "facts", lambda raw: _facts(raw, width)),
        ("findings", "findings", lambda raw: finding_lines([Finding.from_dict(each) for each in raw], width, glyphs)),
        ("lengths in tokens", "lengths", lambda raw: _lengths(raw, width, glyphs)),
        ("turns", "lengths", lambda raw: _turns(raw, width)),
        ("copies", "duplicates", lambda raw: _duplicates(raw, width)),
        ("held-out text in the training text", "contamination", lambda raw: _contamination(raw, width)),
        ("languages", "languages", lambda raw: _languages(raw, width)),
        ("rows that could not be read", "bad_rows", lambda raw: _bad_rows(raw, width)),
    )
    rows: list[Line] = []
    for heading, key, draw in sections:
        body = draw(report[key]) if report.get(key) else []
        if body:
            rows += [BLANK] if rows else []
            rows += [((heading, "title"),)] if heading else []
            rows += body
    return rows


def _facts(facts: Sequence[Sequence[Any]], width: int) -> list[Line]:
    names = max((len(str(name)) for name, _ in facts), default=0)
    return [
        row
        for name, value in facts
        for row in _fact(str(name), count(value) if isinstance(value, int) else str(value), width, names=names)
    ]


def _fact(name: str, value: str, width: int, *, indent: int = 0, names: int = 0) -> list[Line]:
    """A name and its value, wrapped behind it. `names`: cells of the longest name beside it."""
    name = " " * indent + clean_line(name, _LONG_NAME_CELLS)
    left = max(_NAME_CELLS, len(name), min(names, _LONG_NAME_CELLS)) + 2
    rows = fill(clean_line(value), max(8, width - left))
    return [((f"{name if not index else '':<{left}}", "label"), (row, "text")) for index, row in enumerate(rows)]


def _lengths(raw: Mapping[str, Any], width: int, glyphs: Glyphs) -> list[Line]:
    share = f"{count(raw['trained_tokens'])} trained ({percent(raw['trained_share'])})"
    rows = _fact("all", f"{count(raw['tokens'])} in {count(raw['examples'])} examples, {share}", width)
    levels = ", ".join(f"{level}%: {count(length)}" for level, length in raw["percentiles"].items())
    rows += _fact("percentiles", levels, width)
    if raw["limit"] is not None and raw["over_limit"]:
        rows += _fact("too long", f"{count(raw['over_limit'])} longer than {count(raw['limit'])}", width)
    most = max((each["count"] for each in raw["bins"]), default=1)
    cells = max(4, min(_BAR_CELLS, width - _NAME_CELLS - 12))
    for each in raw["bins"]:
        bar = glyphs.bar_full * -(-cells * each["count"] // most)
        rows.append(
            (
                (f"{each['low']:>6} {glyphs.dash} {each['high']:<7}  ", "label"),
                (bar, "bar"),
                (f" {count(each['count'])}", "value"),
            )
        )
    return rows


def _turns(raw: Mapping[str, Any], width: int) -> list[Line]:
    orders = list(raw["role_orders"].items())
    rows = _more(((str(number), order) for order, number in orders[:_NAMED]), width)
    others = sum(number for _, number in orders[_NAMED:]) + raw["other_orders"]
    return rows + (_fact(str(others), "in other orders", width) if others else [])


def _duplicates(raw: Mapping[str, Any], width: int) -> list[Line]:
    if not raw["exact_groups"] and not raw["near_groups"]:
        return [((f"none among {count(raw['texts'])} texts", "text"),)]
    groups = f"{count(raw['exact_groups'])} groups of equal texts, {count(raw['near_groups'])} of nearly equal ones"
    rows = _fact(f"{count(raw['redundant'])} needless", f"of {count(raw['texts'])}: {groups}", width)
    return rows + _more(
        ((f"{percent(each['similarity'])} alike", f"{', '.join(each['where'])}: {each['sample']}") for each in _first(raw)),
        width,
    )


def _first(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*raw["exact"][:_NAMED], *raw["near"][:_NAMED]]


def _contamination(raw: Mapping[str, Any], width: int) -> list[Line]:
    if not raw["dirty"]:
        return [((f"none of {count(raw['evaluated'])} texts shares a run of words", "text"),)]
    mostly = f", {count(raw['mostly'])} of them most" if raw["mostly"] else ""
    rows = _fact(f"{count(raw['dirty'])} share text", f"of {count(raw['evaluated'])}{mostly}", width)
    shares = (
        (f"{percent(each['share'])}", f"{each['where']}, of its {each['n']}-word runs, in {', '.join(each['places'])}")
        for each in raw["items"][:_NAMED]
    )
    return rows + _more(shares, width)


def _languages(raw: Mapping[str, Any], width: int) -> list[Line]:
    if raw["reason"]:
        return [((row, "dim"),) for row in fill(clean_line(f"{raw['reason']}; {raw['install']}"), width)]
    shares = ", ".join(f"{each['code']} {percent(each['share'])}" for each in raw["shares"][:_LANGUAGES])
    return [((row, "text"),) for row in fill(clean_line(shares), width)]


def _bad_rows(raw: Sequence[Mapping[str, Any]], width: int) -> list[Line]:
    rows: list[Line] = []
    for source in raw:
        if source["total"]:
            rows += _fact(count(source["total"]), f"of {source['source']}", width)
            rows += _more(((each["where"], each["problem"]) for each in source["named"][:_NAMED]), width)
    return rows


def _more(facts: Iterable[tuple[str, str]], width: int) -> list[Line]:
    return [row for name, value in facts for row in _fact(name, value, width, indent=2)]
