"""How a run stands, always as glyph, word and colour together. Nothing is called crashed on suspicion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tuitrain.events import RunState
from tuitrain.runs.status import Liveness
from tuitrain.text import clean_line
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.spans import Span

GlyphName = Literal["running", "waiting", "paused", "finished", "stopped", "failed", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Badge:
    """The state in a word."""

    glyph: GlyphName
    word: str
    style: str
    detail: str = ""
    """What more there is to say, for people."""
    live: bool = False
    """Whether somebody works on the run."""

    def span(self, glyphs: Glyphs) -> Span:
        """Glyph and word."""
        symbol: str = getattr(glyphs, self.glyph)
        return f"{symbol} {self.word}", self.style


_PHASES: Final[dict[str, tuple[GlyphName, str, str]]] = {
    "waiting": ("waiting", "STARTING", "state.waiting"),
    "restarting": ("waiting", "RESTARTING", "state.waiting"),
    "data": ("waiting", "LOADING DATA", "state.waiting"),
    "check": ("waiting", "CHECKING", "state.waiting"),
    "model": ("waiting", "BUILDING", "state.waiting"),
    "reference": ("waiting", "REFERENCE", "state.waiting"),
    "probe": ("waiting", "PROBING", "state.waiting"),
    "compile": ("waiting", "COMPILING", "state.waiting"),
    "train": ("running", "RUNNING", "state.running"),
    "eval": ("running", "EVALUATING", "state.running"),
    "sample": ("running", "SAMPLING", "state.running"),
    "checkpoint": ("running", "SAVING", "state.running"),
    "paused": ("paused", "PAUSED", "state.paused"),
    "finish": ("running", "FINISHING", "state.running"),
    "finished": ("finished", "FINISHED", "state.finished"),
    "stopped": ("stopped", "STOPPED", "state.stopped"),
    "failed": ("failed", "FAILED", "state.failed"),
    "killed": ("failed", "KILLED", "state.failed"),
}


def badge(state: RunState, liveness: Liveness | None = None) -> Badge:
    """What the log says, corrected by whether its processes still exist."""
    said = state.state
    glyph, word, style = _PHASES.get(said, ("running", said.upper()[:12], "state.running"))
    detail = clean_line(_detail(state), 200)
    if liveness is not None and liveness.alive and liveness.text == "starting":
        return Badge(glyph="waiting", word="STARTING", style="state.waiting", detail="starting the trainer", live=True)
    if state.ended:
        return Badge(glyph=glyph, word=word, style=style, detail=detail)
    if liveness is None:
        return Badge(glyph=glyph, word=word, style=style, detail=detail, live=True)
    if not liveness.alive:
        if liveness.text == "never started" and not state.version:
            return Badge(glyph="unknown", word="NOT STARTED", style="state.stopped", detail="no trainer has worked on it yet")
        if liveness.text in ("finished", "stopped", "failed", "killed"):
            glyph, word, style = _PHASES[liveness.text]
            return Badge(glyph=glyph, word=word, style=style, detail=detail)
        return Badge(glyph="failed", word="GONE", style="state.failed", detail=clean_line(liveness.text))
    if liveness.stale:
        return Badge(glyph="unknown", word="SILENT", style="state.paused", detail=clean_line(liveness.text), live=True)
    return Badge(glyph=glyph, word=word, style=style, detail=detail, live=True)


def _detail(state: RunState) -> str:
    if state.ended and state.end is not None:
        return str(state.end.data.get("reason") or "")
    if state.state == "restarting":
        return str(state.attempt_ends[-1].data.get("reason") or "")
    return str(state.phase.data.get("detail") or "") if state.phase is not None else ""


def phase_frac(state: RunState) -> float:
    """Share of the present phase done; NaN when it cannot be told."""
    return state.phase.number("done_frac") if state.phase is not None and not state.ended else float("nan")


def waiting_for(state: RunState, liveness: Liveness | None = None) -> str:
    """What an empty chart waits for."""
    now = badge(state, liveness)
    if not now.live:
        return "no steps were trained"
    doing = {
        "LOADING DATA": "loading data", "CHECKING": "the flight check", "BUILDING": "building the model",
        "REFERENCE": "what the reference model makes of the answers", "PROBING": "measuring this machine",
    }  # fmt: skip
    text = f"waiting for the first step: {doing.get(now.word, now.word.lower())}"
    frac = phase_frac(state)
    return text + (f" ({frac:.0%})" if frac == frac and state.state != "train" else "")
