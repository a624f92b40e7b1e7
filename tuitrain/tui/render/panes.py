"""The panes around the charts: tabs, alerts, log, samples. Everything a run or a model wrote passes `clean` here."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tuitrain.events import Event
from tuitrain.text import clean, clean_line
from tuitrain.tui.render.format import count, number
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.metrics import metrics_of
from tuitrain.tui.render.spans import BLANK, Line, cut_text, fit, frame, spread, text_width
from tuitrain.tui.render.view import RunView

_TAB_SPACES = 4


def tab_line(view: RunView, active: str, width: int) -> Line:
    """The charts of a run by name, the main one in brackets."""
    return tabs([(metric.key, metric.title) for metric in metrics_of(view)], active, width, "tab next chart")


def tabs(names: Sequence[tuple[str, str]], active: str, width: int, note: str) -> Line:
    """Names by their keys, the one looked at in brackets, and what turns them."""
    spans = [(f"[{name}]", "tab.on") if key == active else (f" {name} ", "tab") for key, name in names]
    return spread(tuple(spans), ((note, "dim"),), width)


def note_text(event: Event) -> tuple[str, str]:
    """(what an alert says, its style)."""
    data = event.data
    if event.kind == "warning":
        hint = clean_line(str(data.get("hint") or ""))
        return clean_line(str(data.get("message", ""))) + (f" - {hint}" if hint else ""), "bad"
    if event.kind == "guard":
        value, limit = number(event.number("value")), number(event.number("limit"))
        reason = clean_line(str(data.get("reason", ""))).replace("_", " ")
        return f"guard: {reason} {value} (limit {limit}): {clean_line(str(data.get('action', '')))}", "bad"
    if event.kind == "attempt_end":
        then = {"restart": "; it starts again", "shrink": "; it starts again with a smaller micro-batch"}
        what = clean_line(f"attempt {data.get('attempt', '')} died: {data.get('reason', '')}")
        log = f" (log: {clean_line(str(data['log']))})" if data.get("log") else ""
        return f"{what}{log}{then.get(str(data.get('action')), '')}", "bad"
    if event.kind == "checkpoint":
        return f"checkpoint failed: {clean_line(str(data.get('error') or 'unknown reason'))}", "bad"
    done = "done" if data.get("ok") else "refused"
    return clean_line(f"{data.get('command', '')}: {done} - {data.get('detail', '')}"), "good" if data.get("ok") else "bad"


def note_lines(view: RunView, width: int) -> list[Line]:
    """Every alert in a line, newest first: time, step, text."""
    rows = []
    for event in reversed(view.state.notes):
        text, style = note_text(event)
        stamp = f"{clock(event)} step {count(event.step):>7}  "
        rows.append(fit(((stamp, "dim"), (cut_text(text, width - len(stamp), view.glyphs.ellipsis), style)), width))
    return rows or [fit((("nothing happened that you should know of", "dim"),), width)]


def alert_line(view: RunView, width: int) -> Line:
    """The newest alert in one line, with how many there are; blank when there is none."""
    notes = [event for event in view.state.notes if event.kind != "control_ack"]
    if not notes:
        return BLANK
    text, style = note_text(notes[-1])
    head = f"! {len(notes)} alert{'s' if len(notes) != 1 else ''}: "
    tail = "  a shows all"
    room = width - len(head) - len(tail)
    shown = cut_text(f"{clock(notes[-1])} {text}", room, view.glyphs.ellipsis)
    return fit(((head, "alert"), (shown, style), (tail, "dim")), width)


def clock(event: Event) -> str:
    """'14:02:07', local time."""
    return time.strftime("%H:%M:%S", time.localtime(event.t_ns / 1e9))


def wrap(text: str, width: int) -> list[str]:
    """Clean text in lines of at most `width` cells; its own line breaks stay."""
    rows: list[str] = []
    for raw in clean(text).expandtabs(_TAB_SPACES).split("\n"):
        rest = raw
        while text_width(rest) > width > 1:
            piece = cut_text(rest, width)
            rows.append(piece)
            rest = rest[len(piece) :]
        rows.append(rest)
    return rows


def fill(text: str, width: int) -> list[str]:
    """Prose in lines of at most `width` cells, broken between words; indents and line breaks of the text stay."""
    rows: list[str] = []
    for raw in clean(text).expandtabs(_TAB_SPACES).split("\n"):
        indent = raw[: len(raw) - len(raw.lstrip())]
        row = indent
        for word in raw.split():
            if row.strip() and text_width(row) + 1 + text_width(word) > width:
                rows += wrap(row, width)
                row = indent
            row += f" {word}" if row.strip() else word
        rows += wrap(row, width)
    return rows


def log_lines(lines: Sequence[str], width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """The last lines of a log, cut to the width."""
    shown = lines[-height:] if height > 0 else ()
    return [((cut_text(clean_line_keep(each), width, glyphs.ellipsis), "log"),) for each in shown]


def clean_line_keep(text: str) -> str:
    """One line, cleaned; its spacing stays, for logs are aligned."""
    return clean(text).replace("\n", " ").expandtabs(_TAB_SPACES)


def log_pane(lines: Sequence[str], width: int, height: int, glyphs: Glyphs, *, following: bool = True) -> list[Line]:
    """The end of the log in a frame."""
    note: Line = (("following" if following else "held", "dim"),)
    rows = log_lines(lines, width - 2, height - 2, glyphs) or [(("nothing written yet", "dim"),)]
    return frame(rows, width, height, glyphs, title=(("log", "title"),), right=note)


def sample_steps(events: Sequence[Event]) -> list[int]:
    """Steps with samples, ascending, each once."""
    return sorted({event.step for event in events})


def sample_body(view: RunView, step: int, width: int) -> list[Line]:
    """What the model wrote at a step: each prompt, and how it went on."""
    newest: dict[int, Event] = {}
    for event in view.state.samples:
        if event.step == step:
            newest[int(event.number("index")) if event.data.get("index") is not None else len(newest)] = event
    rows: list[Line] = []
    for _, event in sorted(newest.items()):
        prompt, text = str(event.data.get("prompt", "")), str(event.data.get("text", ""))
        if rows:
            rows.append(BLANK)
        rows += prompted(prompt, text, width)
    return rows


def prompted(prompt: str, text: str, width: int) -> list[Line]:
    """The prompt in one style, what the model wrote in another. A prompt that ends in a newline is a question, and its answer
    begins a line; any other is the beginning of a text, and the two are wrapped as one."""
    width, asked, written = max(2, width), clean(prompt), clean(text)
    if asked.endswith("\n"):
        rows: list[Line] = [((row, "prompt"),) for row in fill(asked.rstrip("\n"), width)]
        return rows + [((row, "sample"),) for row in fill(written.strip("\n"), width)]
    rows, left = [], len(asked)
    for raw in (asked + written).split("\n"):
        prompt_cells = len(raw[: max(0, left)].expandtabs(_TAB_SPACES))  # of this line
        left -= len(raw) + 1
        for row in wrap(raw, width):
            spans = ((row[:prompt_cells], "prompt"), (row[prompt_cells:], "sample"))
            rows.append(tuple(span for span in spans if span[0]))
            prompt_cells = max(0, prompt_cells - len(row))
    return rows


def sample_pane(view: RunView, index: int | None, width: int, height: int) -> list[Line]:
    """Samples of one step in a frame. `index` counts steps with samples; None is the newest."""
    steps = sample_steps(view.state.samples)
    if not steps:
        empty = [(("samples come with each evaluation", "dim"),)]
        return frame(empty, width, height, view.glyphs, title=(("samples", "title"),))
    at = len(steps) - 1 if index is None else min(max(0, index), len(steps) - 1)
    note: Line = ((f"{at + 1} of {len(steps)}  [ older  ] newer", "dim"),)
    title: Line = (("samples", "title"), (f" @ step {count(steps[at])}", "value"))
    return frame(sample_body(view, steps[at], width - 2), width, height, view.glyphs, title=title, right=note)
