"""What an action on the job would cost, said before it is done."""

from __future__ import annotations

from tuitrain.tui.render import format as fmt
from tuitrain.tui.render.summary import RunSummary


def unsaved(run: RunSummary, now_s: float) -> str:
    """'last checkpoint step 8,000, 3 m 02 s ago: 204 steps would be lost'."""
    if run.checkpoint_step < 0:
        return f"no checkpoint yet: all {fmt.count(run.step)} steps would be lost" if run.step else "nothing was trained yet"
    lost = max(0, run.step - run.checkpoint_step)
    steps = f"{fmt.count(lost)} step{'s' if lost != 1 else ''}"
    saved = f"last checkpoint step {fmt.count(run.checkpoint_step)}, {fmt.duration(now_s - run.checkpoint_s)} ago"
    return f"{saved}: " + (f"{steps} would be lost" if lost else "nothing would be lost")
