"""Follow a run as lines of text: what `--plain`, pipes and `train` without an interface show."""

from __future__ import annotations

import time

from tuitrain.cli.diagnostics import say
from tuitrain.cli.output import show, show_json_line
from tuitrain.cli.telling import line_of
from tuitrain.errors import (
    EXIT_DOES_NOT_FIT,
    EXIT_ENVIRONMENT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_RUN_FAILED,
    EXIT_USAGE,
)
from tuitrain.events import Event, RunReader, RunState, fold
from tuitrain.events.ranks import NOTABLE_STEPS
from tuitrain.runs.store import Run

POLL_S = 0.1
STEP_LINE_EVERY_S = 1.0
GONE_GRACE_S = 3.0
NOBODY = -1
"""No rank stands out."""


def watch_plain(run: Run, *, as_json: bool = False) -> int:
    """Print what happens until the run ends. Ctrl-C leaves; the run goes on. Returns the run's exit code."""
    from tuitrain.tui.render.plain import summary

    state = RunState()
    try:
        still_there = _follow(run, state, as_json=as_json)
    except KeyboardInterrupt:
        say(f"\n{run.run_id} keeps training.")
        say(f"`tuitrain runs watch {run.run_id}` re-attaches, `tuitrain runs stop {run.run_id}` saves and stops.")
        return EXIT_INTERRUPTED
    if not still_there:
        say(f"{run.run_id}: {run.liveness().text}")
        say(f"`tuitrain runs resume {run.run_id}` goes on from its newest checkpoint")
        return EXIT_RUN_FAILED
    if not as_json:
        show()
        show(summary(state))
    return EXIT_OK if state.state in ("finished", "stopped") else _exit_code(state)


def _exit_code(state: RunState) -> int:
    """Of a run that failed: what it said, where the code has a meaning of its own."""
    code = state.end.data.get("exit_code") if state.end is not None else None
    return code if code in (EXIT_USAGE, EXIT_DOES_NOT_FIT, EXIT_ENVIRONMENT) else EXIT_RUN_FAILED


def _follow(run: Run, state: RunState, *, as_json: bool) -> bool:
    """Fold and tell events until the run has ended (True), or its processes are gone without a word (False)."""
    reader, gone_since_s = RunReader(run.events_dir), None
    told_s, told_rank = 0.0, NOBODY
    while True:
        events = reader.read()
        for event in events:
            fold([event], state)
            told_s = _tell(event, state, told_s, as_json=as_json)
            if event.kind == "collectives" and not as_json:
                told_rank = _tell_slowest(state, told_rank)
        alive = run.liveness().alive
        if state.ended and not alive:
            return True
        gone_since_s = None if alive or events else gone_since_s or time.monotonic()
        if gone_since_s is not None and time.monotonic() - gone_since_s > GONE_GRACE_S:
            return False
        time.sleep(POLL_S)


def _tell_slowest(state: RunState, told_rank: int) -> int:
    """Say which rank the others wait for, when it is another one than was said last; returns the one said last."""
    from tuitrain.tui.render.ranks import skew_words

    skew = state.skew
    now = skew.slowest if skew is not None and skew.notable else NOBODY
    if now != told_rank and skew is not None and skew.steps >= NOTABLE_STEPS:
        show(f"step {state.step}: {skew_words(state, skew)}")
        return now
    return told_rank


def _tell(event: Event, state: RunState, told_s: float, *, as_json: bool) -> float:
    """Print one event; of the steps only the first of each second. Returns when a step was last told."""
    from tuitrain.tui.render.plain import step_line

    if as_json:
        show_json_line({"t_ns": event.t_ns, "rank": event.rank, "step": event.step, "kind": event.kind, **event.data})
    elif event.kind == "step":
        if event.rank == 0 and event.t_ns / 1e9 - told_s >= STEP_LINE_EVERY_S:
            show(step_line(state))
            return event.t_ns / 1e9
    elif (line := line_of(event)) is not None:
        show(line)
    return told_s
