"""The processes of a run side by side: memory against the plan, who waits for whom, how much of the step goes into
communicating. Nothing of it for a run with one process. What the shares are, `events.ranks` and `events.schema` say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tuitrain.events import RankState, RunState, Skew
from tuitrain.events.ranks import NOTABLE_STEPS
from tuitrain.text import clean_line
from tuitrain.tui.render import format as fmt
from tuitrain.tui.render.glyphs import UNICODE, Glyphs
from tuitrain.tui.render.metrics import BY_KEY
from tuitrain.tui.render.panes import fill
from tuitrain.tui.render.spans import BLANK, Line, cut_text, fit, frame, line_width
from tuitrain.tui.render.tiles import drift
from tuitrain.tui.render.view import RunView

MEANING: Final = (
    "waits: share of the step in which the rank had called a collective that another rank had not called yet.",
    "communicating: share of the step in which a collective ran, waiting for late ranks and what computing hid included.",
    "Measured in steps 3 to 6 of an attempt and then in a few of about every 25; means over the newest of them.",
)


def has_ranks(state: RunState) -> bool:
    """Whether there are several processes to compare."""
    return len(state.present_ranks) > 1


def skew_words(state: RunState, skew: Skew | None, *, short: bool = False) -> str:
    """Who the others wait for, in a sentence; empty while nothing was measured. The short one leaves out how often."""
    if skew is None:
        hosts = {rank.host for rank in state.present_ranks}
        several = len(hosts) > 1 and bool(state.traces.done)
        return f"ranks on {len(hosts)} hosts: their clocks are not one, so who waits for whom is not told" if several else ""
    if skew.steps < NOTABLE_STEPS:
        return f"{skew.steps} step{'s' * (skew.steps > 1)} traced: too few to name a rank"
    rank, steps = skew.slowest, f"{skew.steps} traced steps"
    share = fmt.percent(skew.caused_frac[rank], 0 if skew.caused_frac[rank] >= 0.1 else 1)
    if skew.notable:
        often = "" if short else f" (longest in {skew.worst_count[rank]} of {steps})"
        return f"rank {rank} is slowest: the others waited for it {share} of the time{often}"
    return f"no rank stands out: the others waited {share} of the time for rank {rank}, the most for any ({steps})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What is said of one rank, as text; a dash where nothing was measured."""

    rank: int
    step: str
    peak: str
    drift: Line
    waits: str
    communicating: str
    data: str
    mark: str
    """Why it deserves a look: 'failed', 'slowest', 'fullest', 'silent'; empty where it does not."""

    @property
    def style(self) -> str:
        """Of the mark."""
        return "bad" if self.mark in ("failed", "slowest", "silent") else "dim"


def rank_rows(view: RunView) -> list[Row]:
    """All ranks of the attempt, by number."""
    state, skew = view.state, view.state.skew
    fullest, planned = state.fullest, view.planned("peak_bytes")
    rows = []
    for rank in state.present_ranks:
        apart = drift(BY_KEY["memory"], rank.peak_bytes, planned, view.glyphs)
        rows.append(
            Row(
                rank=rank.rank,
                step=fmt.count(rank.step) if rank.start or rank.t_ns else fmt.MISSING,
                peak=fmt.size(rank.peak_bytes),
                drift=(apart,) if apart else (),
                waits=fmt.percent(skew.wait_frac.get(rank.rank, math.nan)) if skew else fmt.MISSING,
                communicating=fmt.percent(rank.communicating_frac(state.begin_ns)),
                data=fmt.percent(rank.data_s / rank.step_s) if rank.step_s > 0 else fmt.MISSING,
                mark=_mark(rank, skew, fullest, trouble=state.trouble_of(rank)),
            )
        )
    return rows


def _mark(rank: RankState, skew: Skew | None, fullest: RankState | None, *, trouble: str) -> str:
    if trouble:
        return "failed"
    if rank.start is None and not rank.t_ns:
        return "silent"
    if skew is not None and skew.notable and skew.slowest == rank.rank:
        return "slowest"
    return "fullest" if rank is fullest else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    title: str
    cells: Callable[[Row], Line]
    width: int
    worth: int
    """Columns of less worth go first when it is narrow."""


_COLUMNS: Final = (
    _Column(title="rank", cells=lambda row: ((str(row.rank), "value"),), width=5, worth=9),
    _Column(title="step", cells=lambda row: ((row.step, "text"),), width=9, worth=4),
    _Column(title="memory", cells=lambda row: ((row.peak, "value"),), width=10, worth=8),
    _Column(title="of plan", cells=lambda row: row.drift or ((fmt.MISSING, "dim"),), width=8, worth=7),
    _Column(title="waits", cells=lambda row: ((row.waits, "value"),), width=7, worth=6),
    _Column(title="communicating", cells=lambda row: ((row.communicating, "value"),), width=15, worth=3),
    _Column(title="for data", cells=lambda row: ((row.data, "text"),), width=10, worth=2),
    _Column(title="", cells=lambda row: ((row.mark, row.style),), width=9, worth=5),
)


def table_lines(rows: Sequence[Row], width: int) -> list[Line]:
    """A head and a line per row, in as many columns as fit."""
    shown = list(_COLUMNS)
    while sum(each.width for each in shown) > width and len(shown) > 1:
        shown.remove(min(shown, key=lambda each: each.worth))
    lines: list[Line] = [tuple((f"{each.title:>{each.width}}", "label") for each in shown)]
    for row in rows:
        spans: list[tuple[str, str]] = []
        for each in shown:
            cells = each.cells(row)
            spans += [(" " * max(0, each.width - line_width(cells)), "text"), *cells]
        lines.append(tuple(spans))
    return [fit(each, width) for each in lines]


def most_telling(rows: Sequence[Row], count: int) -> list[Row]:
    """At most `count` of the rows, those with something to say first, by rank."""
    order = {"failed": 0, "silent": 1, "slowest": 2, "fullest": 3, "": 4}
    chosen = sorted(rows, key=lambda row: (order[row.mark], row.rank))[: max(0, count)]
    return sorted(chosen, key=lambda row: row.rank)


def ranks_pane(view: RunView, width: int, rows: int) -> list[Line]:
    """The ranks in a frame, at most `rows` of them; in a single line where there is no room for one. Empty for one process."""
    state = view.state
    if not has_ranks(state):
        return []
    if rows < 1:
        return [one_line(view, width)]
    words = skew_words(state, state.skew)
    all_rows = rank_rows(view)
    shown = most_telling(all_rows, rows)
    lines = table_lines(shown, width - 2)
    if words:
        lines.append(_sentence(words, width - 2, view.glyphs, state.skew))
    planned = view.planned("peak_bytes")
    plan = f"planned {fmt.size(planned)} for the fullest  " if math.isfinite(planned) else ""
    more = len(all_rows) - len(shown)
    note = f"{plan}k shows {'all' if more else 'more'}"
    title: Line = ((f"{len(all_rows)} ranks", "title"), *(((f", {more} not shown", "dim"),) if more else ()))
    return frame(lines, width, len(lines) + 2, view.glyphs, title=title, right=((note, "dim"),))


def one_line(view: RunView, width: int) -> Line:
    """The ranks in one line, for small screens."""
    state, words = view.state, skew_words(view.state, view.state.skew, short=True)
    shares = [rank.communicating_frac(state.begin_ns) for rank in state.present_ranks]
    told = [share for share in shares if math.isfinite(share)]
    talk = f"; communicating {_range(told, view.glyphs)}" if told else ""
    head = f"{len(shares)} ranks: "
    text = cut_text(f"{words or 'no step traced yet'}{talk}", width - len(head), view.glyphs.ellipsis)
    notable = state.skew is not None and state.skew.notable
    return fit(((head, "label"), (text, "bad" if notable else "dim")), width)


def _range(shares: Sequence[float], glyphs: Glyphs) -> str:
    low, high = fmt.percent(min(shares)), fmt.percent(max(shares))
    return low if low == high else f"{low}{glyphs.dash}{high}"


def _sentence(words: str, width: int, glyphs: Glyphs, skew: Skew | None) -> Line:
    style = "bad" if skew is not None and skew.notable else "dim"
    return fit(((" " + cut_text(words, width - 1, glyphs.ellipsis), style),), width)


def detail_lines(view: RunView, rank: RankState, log: str, width: int) -> list[Line]:
    """Everything known of one rank, then what the columns mean."""
    device = str(rank.start.data.get("device") or "") if rank.start else ""
    process = f"process {rank.pid} on {clean_line(rank.host)}" if rank.pid is not None else "no process yet"
    rows: list[Line] = [((f"rank {rank.rank}", "title"), (cut_text(f"  {process}  {clean_line(device)}", width - 10), "text"))]
    planned = view.planned("peak_bytes")
    facts = (("  memory now ", rank.memory_bytes), ("  peak ", rank.peak_bytes), ("  planned ", planned))
    rows.append(tuple(span for word, each in facts for span in ((word, "label"), (fmt.size(each), "value"))))
    skew = view.state.skew
    if skew is not None and rank.rank in skew.caused_frac:
        waited = fmt.percent(skew.caused_frac[rank.rank], 1)
        late = f"{skew.late_count[rank.rank]} collectives of {skew.steps} traced steps"
        rows.append((("  the others waited for it ", "label"), (waited, "value"), (f"  last to {late}", "dim")))
    if trouble := view.state.trouble_of(rank):
        rows += [((f"  {each}", "bad"),) for each in fill(clean_line(trouble, 400), width - 2)]
    rows.append((("  log ", "label"), (clean_line(log), "text"), ("  enter opens it", "dim")))
    rows.append(BLANK)
    for each in MEANING:
        rows += [((text, "dim"),) for text in fill(each, width)]
    return [fit(each, width) for each in rows]


def closing_table(view: RunView) -> list[str]:
    """Per rank planned and measured memory and the shares, and the sentence; for the end of a run, as text."""
    state = view.state
    if not has_ranks(state):
        return []
    planned = view.planned("peak_bytes")
    plain = RunView(run_id="", state=state, now_s=view.now_s, glyphs=UNICODE, plan=view.plan)
    lines = [f"{'memory':14}{'planned':>14}{'peak':>14}{'difference':>12}{'waits':>8}{'communicating':>15}"]
    for row, rank in zip(rank_rows(plain), state.present_ranks, strict=True):
        apart = fmt.signed_percent(fmt.relative(rank.peak_bytes, planned))
        lines.append(
            f"{f'  rank {row.rank}':14}{fmt.size(planned):>14}{row.peak:>14}{apart:>12}{row.waits:>8}{row.communicating:>15}"
        )
    words = skew_words(state, state.skew)
    return [*lines, *([words] if words else [])]
