"""The header: state, name, progress, time left against the plan, age of the last checkpoint; less of it when it is narrow."""

from __future__ import annotations

import math

from tuitrain.text import clean_line
from tuitrain.tui.render import format as fmt
from tuitrain.tui.render.flight import blocking_lines
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.spans import Line, Span, cut, cut_text, fit, line_width
from tuitrain.tui.render.status import badge, phase_frac
from tuitrain.tui.render.tiles import SMALL_DRIFT_FRAC
from tuitrain.tui.render.view import RunView


def header_lines(view: RunView, width: int) -> list[Line]:
    """The header line, and others when there is something to say about the state."""
    now, glyphs = badge(view.state, view.liveness), view.glyphs
    rows = [header_line(view, width)]
    if stopped := blocking_lines(view, width):
        rows += stopped
    elif now.detail:
        style = "bad" if now.glyph == "failed" else "dim"
        hint = f"; `tuitrain chat {clean_line(view.run_id)}` talks to it" if now.word == "FINISHED" else ""
        hint = "; R resumes it" if now.word in ("GONE", "STOPPED", "KILLED", "FAILED") else hint
        text = cut_text(f"  {now.detail}{hint}", width, glyphs.ellipsis)
        rows.append(fit(((text, style),), width))
    return rows


def header_line(view: RunView, width: int) -> Line:
    """One line of at most `width` cells."""
    state, glyphs = view.state, view.glyphs
    now = badge(state, view.liveness)
    badge_part: Line = (now.span(glyphs),)
    progress = _progress(view)
    steps: Line = ((progress, "value"),) if progress else ()
    time_part, time_short = _time(view, now.live), _time(view, now.live, short=True)
    checkpoint = _checkpoint(view)
    name = clean_line(view.run_id)
    for bar_cells, time_shown, saved in (
        (24, time_part, checkpoint),
        (16, time_part, checkpoint),
        (10, time_part, ()),
        (10, time_short, ()),
        (0, time_short, ()),
    ):
        bar = _bar_part(view, bar_cells)
        fixed = [part for part in (badge_part, steps, bar, time_shown, saved) if part]
        room = width - sum(line_width(part) for part in fixed) - 2 * len(fixed)
        if room >= min(12, len(name)):
            break
    shown: Line = ((cut_text(name, max(4, min(room, 40)), glyphs.ellipsis), "title"),)
    parts = [badge_part, shown, steps, bar, time_shown, saved]
    spans: list[Span] = []
    for part in parts:
        if part:
            spans.extend(((("  ", "text"), *part)) if spans else part)
    return fit(cut(tuple(spans), width), width)


def _progress(view: RunView) -> str:
    state = view.state
    if not state.total_steps and not state.step:
        return ""
    total = f"/{fmt.count(state.total_steps)}" if state.total_steps else ""
    return f"step {fmt.count(state.step)}{total}"


def done_frac(view: RunView) -> float:
    """Share of the run done; of the phase while nothing was trained; NaN when neither is known."""
    state = view.state
    if state.total_steps and (state.step or state.ended):
        return min(1.0, state.step / state.total_steps)
    return phase_frac(state)


def _bar_part(view: RunView, cells: int) -> Line:
    frac = done_frac(view)
    if not math.isfinite(frac):
        return ()
    percent: Span = (f" {fmt.percent(frac)}", "value")
    return (*bar(frac, cells, view.glyphs), percent) if cells else ((fmt.percent(frac), "value"),)


def bar(frac: float, cells: int, glyphs: Glyphs) -> Line:
    """A progress bar of `cells` cells and its two ends."""
    frac = min(1.0, max(0.0, frac)) if math.isfinite(frac) else 0.0
    parts = len(glyphs.bar_parts) + 1
    eighths = math.floor(frac * cells * parts + 1e-9)
    full, rest = divmod(eighths, parts)
    partial = glyphs.bar_parts[rest - 1] if rest else ""
    empty = glyphs.bar_empty * (cells - full - len(partial))
    return (
        (glyphs.bar_left, "bar.edge"),
        (glyphs.bar_full * full + partial, "bar"),
        (empty, "bar.rest"),
        (glyphs.bar_right, "bar.edge"),
    )


def _time(view: RunView, live: bool, *, short: bool = False) -> Line:
    """Time left against what the plan leaves, or time taken against the whole plan."""
    state, planned_s = view.state, view.planned("duration_s")
    trained_s = view.trained_s
    if not live:
        if not trained_s:
            return ()
        share = state.step / state.total_steps if state.total_steps else 1.0
        return _against("took", trained_s, planned_s * share, view.glyphs, short=short)
    eta_s = state.eta_s()
    if not math.isfinite(eta_s):
        return ()
    left = 1 - state.step / state.total_steps if state.total_steps else 1.0
    return _against("ETA", eta_s, planned_s * left, view.glyphs, short=short)


def _against(word: str, actual_s: float, planned_s: float, glyphs: Glyphs, *, short: bool) -> Line:
    shown: Line = ((f"{word} ", "label"), (fmt.duration(actual_s), "value"))
    if short or not math.isfinite(planned_s):
        return shown
    frac = fmt.relative(actual_s, planned_s)
    if not math.isfinite(frac):
        return shown
    if abs(frac) < SMALL_DRIFT_FRAC:
        mark: Span = (f" {glyphs.same}", "good")
    else:
        mark = (f" {glyphs.up if frac > 0 else glyphs.down_arrow}{abs(frac):.0%}", "bad" if frac > 0 else "good")
    return (*shown, (f" (plan {fmt.duration(planned_s)}", "dim"), mark, (")", "dim"))


def _checkpoint(view: RunView) -> Line:
    """'ckpt 3 m 02 s ago'."""
    good = [event for event in view.state.checkpoints if event.data.get("ok", True)]
    if not good:
        return (("no ckpt yet", "dim"),) if len(view.state.steps) and not view.state.ended else ()
    if view.state.ended:
        return ((f"ckpt step {fmt.count(good[-1].step)}", "dim"),)
    return ((f"ckpt {fmt.duration(view.now_s - good[-1].t_ns / 1e9)} ago", "dim"),)
