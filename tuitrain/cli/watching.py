"""Follow a run as lines of text: what `--plain`, pipes and `train` without an interface show."""

from __future__ import annotations

import time

from tuitrain.cli.diagnostics import say
from tuitrain.cli.output import show, show_json_line
from tuitrain.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUN_FAILED
from tuitrain.events import Event, RunReader, RunState, fold
from tuitrain.runs.store import Run

POLL_S = 0.1
LINE_EVERY_S = 1.0
GONE_GRACE_S = 3.0


def watch_plain(run: Run, *, as_json: bool = False) -> int:
    """Print what happens until the run ends. Ctrl-C leaves; the run goes on. Returns the run's exit code."""
    from tuitrain.tui.render.plain import step_line, summary

    reader, state = RunReader(run.events_dir), RunState()
    printed_s, gone_s = 0.0, None
    try:
        while True:
            events = reader.read()
            for event in events:
                fold([event], state)
                if as_json:
                    show_json_line({"t_ns": event.t_ns, "rank": event.rank, "step": event.step, "kind": event.kind, **event.data})
                elif event.kind == "step":
                    if event.rank == 0 and event.t_ns / 1e9 - printed_s >= LINE_EVERY_S:
                        printed_s = event.t_ns / 1e9
                        show(step_line(state))
                else:
                    _tell(event)
            if state.ended and not run.liveness().alive:
                break
            gone_s = None if run.liveness().alive else gone_s or time.monotonic()
            if gone_s is not None and time.monotonic() - gone_s > GONE_GRACE_S and not events:
                say(f"{run.run_id}: {run.liveness().text}; `tuitrain runs resume {run.run_id}` goes on from its newest checkpoint")
                return EXIT_RUN_FAILED
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        say(f"\n{run.run_id} keeps training. `tuitrain runs watch {run.run_id}` re-attaches, `tuitrain runs stop {run.run_id}` saves and stops.")
        return EXIT_INTERRUPTED
    if not as_json:
        show()
        show(summary(state))
    return EXIT_OK if state.state in ("finished", "stopped") else EXIT_RUN_FAILED


def _tell(event: Event) -> None:
    """One line for an event worth one."""
    data = event.data
    match event.kind:
        case "phase" if data.get("name") not in ("train", "eval", "sample", "checkpoint"):
            done = data.get("done_frac")
            show(f"{data.get('name')}: {data.get('detail', '')}" + (f" {done:.0%}" if isinstance(done, float) else ""))
        case "run_start":
            origin = f", from step {data['resumed_from_step']}" if data.get("resumed_from_step") else ""
            show(
                f"training {data['parameters']:,} parameters for {data['total_steps']} steps of {data['tokens_per_step']} tokens{origin}\n"
                f"  {data['device']}; {data['precision']}: {data['precision_reason']}; attention {data['attention_reason']}"
            )
        case "eval":
            best = " (best)" if data.get("best") else ""
            show(f"step {event.step}: validation loss {event.number('loss'):.4f}, {event.number('bits_per_byte'):.4f} bits per byte{best}")
        case "sample":
            show(f"step {event.step}: sample | {data.get('prompt', '')}{data.get('text', '')}".replace("\n", "\n    | "))
        case "checkpoint":
            said = f"saved {data.get('path')} ({event.number('bytes') / 2**20:.1f} MiB)" if data.get("ok") else f"checkpoint failed: {data.get('error')}"
            show(f"step {event.step}: {said}")
        case "guard":
            show(f"step {event.step}: guard: {data.get('reason')} {event.number('value'):.4g}, {data.get('action')}")
        case "warning":
            say(f"warning: {data.get('message')}" + (f" ({data['hint']})" if data.get("hint") else ""))
        case "control_ack":
            show(f"step {event.step}: {data.get('command')}: {data.get('detail')}")
        case "length":
            show(f"step {event.step}: the run will take {data.get('total_steps')} steps: {data.get('reason')}")
        case "run_end":
            show(f"step {event.step}: {data.get('state')}: {data.get('reason')}")
