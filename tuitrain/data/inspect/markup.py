"""Pieces of the page: text that is untrusted made safe, tables, the histogram, the style sheet.

`shown` is the only way text enters the page: no control or direction character reaches the file, and no markup is read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from tuitrain.text import clean

STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif;
  --trained: #c9ecd0; --ignored: #8882; --special: #7a3fb5; --cut: #b3261e; --bar: #4c78a8; --over: #e45756; --warn: #8a5a00 }
@media (prefers-color-scheme: dark) {
  :root { --trained: #1f4d2b; --special: #c9a2f0; --cut: #ff8a80; --bar: #7aa6d6; --over: #ff8080; --warn: #f0b849 } }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
table { border-collapse: collapse; margin: .5rem 0 1rem }
th, td { text-align: left; padding: .25rem 1.5rem .25rem 0; vertical-align: top }
tr { border-top: 1px solid #8884 } th { font-weight: 600; white-space: nowrap }
td { white-space: pre-line }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.block { color: var(--cut); font-weight: 600 } .warn { color: var(--warn); font-weight: 600 }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: currentColor }
svg .bar { fill: var(--bar) } svg .over { fill: var(--over) }
.tokens { font: 13px/1.9 ui-monospace, monospace; white-space: pre-wrap; border: 1px solid #8884; padding: .5rem }
.tokens span, .legend span { unicode-bidi: isolate; border-radius: 2px; box-shadow: inset -1px 0 #8884 }
.trained { background: var(--trained); text-decoration: underline } .ignored { background: var(--ignored) }
.special-trained { background: var(--trained); color: var(--special); font-weight: 700; text-decoration: underline }
.special-ignored { background: var(--ignored); color: var(--special); font-weight: 700 }
.pad { opacity: .45 } .truncated { color: var(--cut); text-decoration: line-through }
.document, .pack { font: 11px system-ui, sans-serif; user-select: none; margin: 0 .2rem; padding: 0 .3rem; border: 1px solid }
.pack { display: block; border-width: 2px 0 0; margin: .3rem 0 } .pack:first-child { margin-top: 0 }
.legend span, .legend b { margin-right: .8rem; padding: 0 .2rem; display: inline-block; width: auto }
.diff td { font: 12px/1.5 ui-monospace, monospace; white-space: pre-wrap; unicode-bidi: isolate }
.replace td, .delete td, .insert td { background: var(--ignored); font-weight: 700 }
"""


def shown(value: Any) -> str:
    """A value as text of the page or of an attribute."""
    return escape(clean(str(value)))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows under their names; numbers stand to the right. Nothing where there is no row."""
    lines = list(rows)
    if not lines:
        return ""
    names = "".join(_cell("th", name, like=value) for name, value in zip(head, lines[0], strict=True))
    body = "".join("<tr>" + "".join(_cell("td", value, like=value) for value in line) + "</tr>" for line in lines)
    return f"<table><tr>{names}</tr>{body}</table>"


def _cell(tag: str, value: Any, *, like: Any) -> str:
    mark = ' class="number"' if isinstance(like, int | float) else ""
    return f"<{tag}{mark}>{number(value) if isinstance(value, int | float) else shown(value)}</{tag}>"


def number(value: float) -> str:
    """1 234 567 with spaces; a fraction with three digits."""
    return f"{value:,}".replace(",", "\u2009") if isinstance(value, int) else f"{value:.3f}"


def percent(value: float) -> str:
    """A share; one that is not 0 does not look like it."""
    return "under 0.1 %" if 0 < value < 0.001 else f"{100 * value:.1f} %".replace(".0 %", " %")


def histogram(bins: Sequence[dict[str, int]], limit: int | None) -> str:
    """Bars; those wholly above the limit stand out. Every bar tells its numbers on hovering, and its count above it."""
    if not bins:
        return ""
    width, height, step = 640, 130, 640 / len(bins)
    most = max(1, *(each["count"] for each in bins))
    parts = []
    for place, each in enumerate(bins):
        low, high, count = int(each["low"]), int(each["high"]), int(each["count"])
        tall, left, middle = height * count / most, place * step, (place + 0.5) * step
        name = "over" if limit is not None and low > limit else "bar"
        parts.append(
            f"<g><title>{low} to {high} tokens: {count}</title>"
            f'<rect class="{name}" x="{left + 1:.1f}" y="{20 + height - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}"/>'
            f'<text x="{middle:.1f}" y="{16 + height - tall:.1f}" text-anchor="middle">{_short(count) if count else ""}</text>'
            f'<text x="{left:.1f}" y="{height + 34}">{_short(low)}</text></g>'
        )
    label = f"Histogram of lengths in tokens, {len(bins)} bins"
    return f'<svg viewBox="0 0 {width} {height + 40}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _short(value: int) -> str:
    """1234 is 1.2k."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}" if value < 1000 * size else f"{value // size}{unit}"
    return str(value)
