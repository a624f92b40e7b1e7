"""Events in words: the line a person reads for each kind of event; None for those that are not worth one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuitrain.events import Event

_QUIET_PHASES = ("train", "eval", "sample", "checkpoint")


def line_of(event: Event) -> str | None:
    """One event as text, without a newline at the end. Steps are told elsewhere: there are too many."""
    teller = _TELLERS.get(event.kind)
    return teller(event, event.data) if teller else None


def _phase(event: Event, data: dict[str, Any]) -> str | None:
    if data.get("name") in _QUIET_PHASES:
        return None
    done = data.get("done_frac")
    share = f" {done:.0%}" if isinstance(done, float) else ""
    return f"{data.get('name')}: {data.get('detail', '')}{share}"


def _run_start(event: Event, data: dict[str, Any]) -> str:
    origin = f", going on from step {data['resumed_from_step']}" if data.get("resumed_from_step") else ""
    return (
        f"training {data['parameters']:,} parameters for {data['total_steps']} steps "
        f"of {data['tokens_per_step']} tokens{origin}\n"
        f"  device     {data['device']}\n"
        f"  precision  {data['precision']}: {data['precision_reason']}\n"
        f"  attention  {data['attention_reason']}"
    )


def _eval(event: Event, data: dict[str, Any]) -> str:
    best = " (best)" if data.get("best") else ""
    loss, bits = event.number("loss"), event.number("bits_per_byte")
    return f"step {event.step}: validation loss {loss:.4f}, {bits:.4f} bits per byte{best}"


def _sample(event: Event, data: dict[str, Any]) -> str:
    text = f"{data.get('prompt', '')}{data.get('text', '')}".replace("\n", "\n    | ")
    return f"step {event.step}: sample\n    | {text}"


def _checkpoint(event: Event, data: dict[str, Any]) -> str:
    if not data.get("ok"):
        return f"step {event.step}: checkpoint failed, the run goes on: {data.get('error')}"
    return f"step {event.step}: saved {data.get('path')} ({event.number('bytes') / 2**20:.1f} MiB)"


def _guard(event: Event, data: dict[str, Any]) -> str:
    facts = f"{event.number('value'):.4g} over {event.number('limit'):.4g}"
    return f"step {event.step}: guard: {data.get('reason')} ({facts}), {data.get('action')}"


def _warning(event: Event, data: dict[str, Any]) -> str:
    hint = f" ({data['hint']})" if data.get("hint") else ""
    return f"warning: {data.get('message')}{hint}"


def _attempt_end(event: Event, data: dict[str, Any]) -> str:
    then = {
        "restart": f"starting again from the last good checkpoint, {data.get('restarts_left')} restarts left",
        "shrink": f"starting again with micro-batch {data.get('micro_batch')}",
    }.get(str(data.get("action")), "that is the end")
    stacks = f"; stacks in {data['stacks']}/" if data.get("stacks") else ""
    return f"attempt {data.get('attempt')} died: {data.get('reason')} (log: {data.get('log')}{stacks}); {then}"


_TELLERS: dict[str, Callable[[Event, dict[str, Any]], str | None]] = {
    "phase": _phase,
    "run_start": _run_start,
    "eval": _eval,
    "sample": _sample,
    "checkpoint": _checkpoint,
    "guard": _guard,
    "warning": _warning,
    "control_ack": lambda event, data: f"step {event.step}: {data.get('command')}: {data.get('detail')}",
    "length": lambda event, data: f"step {event.step}: it will take {data.get('total_steps')} steps: {data.get('reason')}",
    "attempt_end": _attempt_end,
    "run_end": lambda event, data: f"step {event.step}: {data.get('state')}: {data.get('reason')}",
}
