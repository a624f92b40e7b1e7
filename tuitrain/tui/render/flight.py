"""The flight check as lines: what was found wrong, what is doubtful, what is right, each with its places and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tuitrain.data.chat.findings import Finding, Severity
from tuitrain.text import clean_line
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.spans import BLANK, Line, fit
from tuitrain.tui.render.status import badge
from tuitrain.tui.render.view import RunView

_NAME_CELLS = 16
_NARROW = 48
"""Below this many cells a finding's name stands above it, not before it."""
_PLACES = 5
_MESSAGE_ROWS, _FIX_ROWS = 3, 2
"""Of a dashboard's lines, at most so many for what blocked the start, and for its fix."""
_WORDS: Final[dict[Severity, tuple[str, str]]] = {
    "block": ("BLOCKS THE START", "state.failed"), "warn": ("WARNING", "alert"), "ok": ("OK", "good"),
}  # fmt: skip
SHORT_WORDS: Final[dict[Severity, str]] = {"block": "block", "warn": "warn", "ok": "ok"}


def glyph(severity: Severity, glyphs: Glyphs) -> str:
    """The sign of a severity."""
    return {"block": glyphs.failed, "warn": glyphs.mark_guard, "ok": glyphs.finished}[severity]


def finding_lines(findings: Sequence[Finding], width: int, glyphs: Glyphs) -> list[Line]:
    """The findings, grouped, the worst first."""
    rows: list[Line] = []
    for severity, (word, style) in _WORDS.items():
        group = [each for each in findings if each.severity == severity]
        if not group:
            continue
        rows += [BLANK] if rows else []
        rows.append(((f"{glyph(severity, glyphs)} {word}", style), (f" ({len(group)})", "dim")))
        for each in group:
            rows += _finding(each, width, style)
    return rows


def _finding(each: Finding, width: int, style: str) -> list[Line]:
    name = clean_line(each.check, _NAME_CELLS - 3)
    left = _NAME_CELLS if width >= _NARROW else 4
    parts = [(text, "text") for text in fill(clean_line(each.message), width - left)]
    if each.where:
        parts += [(text, "dim") for text in fill(f"at {places(each)}", width - left)]
    if each.fix and each.severity != "ok":
        parts += [(text, "title") for text in fill(f"fix: {clean_line(each.fix)}", width - left)]
    if left < _NAME_CELLS:
        return [((f"  {name}", style),), *(((" " * left + text, part_style),) for text, part_style in parts)]
    heads = [f"  {name:<{left - 2}}"] + [" " * left] * (len(parts) - 1)
    return [((head, style), part) for head, part in zip(heads, parts, strict=True)]


def places(finding: Finding) -> str:
    """'a.jsonl:3, a.jsonl:9 and 12 more'."""
    named = [clean_line(each) for each in finding.where[:_PLACES]]
    more = max(finding.count, len(finding.where)) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def counts(findings: Sequence[Finding]) -> str:
    """'1 block, 2 warn, 8 ok'."""
    numbers = {severity: sum(each.severity == severity for each in findings) for severity in _WORDS}
    return ", ".join(f"{number} {SHORT_WORDS[severity]}" for severity, number in numbers.items() if number)


def flight_lines(view: RunView, width: int) -> list[Line]:
    """What the flight check of a run found, or why there is nothing to show."""
    if view.findings is None:
        return [((row, "dim"),) for row in fill(absence(view), width)]
    if not view.findings:
        return [(("the flight check wrote down nothing", "dim"),)]
    return finding_lines(view.findings, width, view.glyphs)


def absence(view: RunView) -> str:
    """Why a run has no flight check."""
    if view.stage in ("pretrain", "midtrain", "") and view.config:
        name = "midtraining" if view.stage == "midtrain" else "pretraining"
        return (
            f"{name} has none. The flight check looks at what fine-tuning can do wrong in silence - masks, chat template, "
            "end tokens, packing, the head - before a run of stage sft or dpo starts."
        )
    now = badge(view.state, view.liveness)
    if now.live:
        return "not done yet: it comes when the examples are read, and again when the model is loaded"
    return f"the run ended before it ({now.word.lower()}{f': {now.detail}' if now.detail else ''})"


def blocking(view: RunView) -> tuple[Finding, ...]:
    """What stopped a run before its first step; empty for runs that ended otherwise, or did not."""
    if view.state.state != "failed" and (view.liveness is None or view.liveness.text != "failed"):
        return ()
    return tuple(each for each in view.findings or () if each.severity == "block")


def blocking_lines(view: RunView, width: int) -> list[Line]:
    """A dashboard's lines on what stopped the run: the first finding that blocks, its fix, and where the others are."""
    found = blocking(view)
    if not found:
        return []
    first, sign = found[0], glyph("block", view.glyphs)
    where = f" ({places(first)})" if first.where else ""
    message = _at_most(
        f"flight check: {clean_line(first.check)}: {clean_line(first.message)}{where}", width - 4, _MESSAGE_ROWS, view
    )
    rows: list[Line] = [
        ((f"  {sign} " if not index else "    ", "state.failed"), (text, "bad")) for index, text in enumerate(message)
    ]
    if first.fix:
        rows += [
            (("    ", "text"), (text, "title"))
            for text in _at_most(f"fix: {clean_line(first.fix)}", width - 4, _FIX_ROWS, view)
        ]
    more = f"; {len(found) - 1} more block{'s' * (len(found) == 2)}" if len(found) > 1 else ""
    rows.append(((f"    f shows the whole flight check{more}", "dim"),))
    return [fit(row, width) for row in rows]


def _at_most(text: str, width: int, rows: int, view: RunView) -> list[str]:
    lines = fill(text, max(8, width))
    return lines if len(lines) <= rows else [*lines[: rows - 1], lines[rows - 1][: max(1, width - 2)] + view.glyphs.ellipsis]
