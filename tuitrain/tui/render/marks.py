"""What happened at which step: evaluations, checkpoints, resumes and guard trips, as marks on the axis of a chart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuitrain.events import RunState
from tuitrain.text import clean_line
from tuitrain.tui.render.format import number
from tuitrain.tui.render.glyphs import Glyphs


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One event. Of two in the same cell the later one in the list is seen."""

    step: float
    glyph: str
    style: str
    name: str
    """What kind of event, for the legend."""
    text: str
    """What happened, for the read-out."""


def marks(state: RunState, glyphs: Glyphs) -> list[Mark]:
    """All marks of a run, the more important ones last."""
    found = [
        Mark(step=step, glyph=glyphs.mark_eval, style="mark.eval", name="eval", text=f"eval {number(loss)}")
        for step, loss in zip(state.evals.column("step").tolist(), state.evals.column("loss").tolist(), strict=True)
    ]
    found += [
        Mark(step=event.step, glyph=glyphs.mark_checkpoint, style="mark.checkpoint", name="checkpoint", text="checkpoint saved")
        for event in state.checkpoints
        if event.data.get("ok", True)
    ]
    found += [
        Mark(step=step, glyph=glyphs.mark_resume, style="mark.resume", name="resume", text="resumed from here")
        for step in resume_steps(state)
    ]
    found += [
        Mark(
            step=event.step,
            glyph=glyphs.mark_guard,
            style="mark.guard",
            name="guard",
            text=clean_line(f"{event.data.get('reason', 'guard')}: {event.data.get('action', '')}", 60),
        )
        for event in state.notes
        if event.kind == "guard"
    ]
    return found


def resume_steps(state: RunState) -> list[float]:
    """Steps from which training went on after it had been further, or after a stop."""
    steps = {float(branch["step"][0]) - 1 for branch in state.abandoned if len(branch["step"])}
    if state.start is not None and state.start.number("resumed_from_step") > 0:
        steps.add(state.start.number("resumed_from_step"))
    return sorted(step for step in steps if np.isfinite(step))
