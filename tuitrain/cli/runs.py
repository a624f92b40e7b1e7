"""`tuitrain runs ...`: list, show, watch and steer runs, from any terminal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

group = typer.Typer(help="List, show, watch and steer runs. Alone: list them.", invoke_without_command=True)
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Run id, a unique part of it, a path, or `latest`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="runs")


@group.callback()
def alone(context: typer.Context) -> int:
    """List, show, watch and steer runs. Alone: list them."""
    return list_runs() if context.invoked_subcommand is None else 0


@group.command("ls")
def list_runs(as_json: AsJson = False) -> int:
    """All runs, newest first."""
    from tuitrain.cli.context import store
    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show_json, show_table

    rows = [_summary(run) for run in store().list()]
    if as_json:
        show_json(rows)
        return 0
    if not rows:
        say(f"no runs in {store().root} yet; `tuitrain demo` makes one in three minutes")
        return 0
    show_table(
        ["run", "state", "step", "loss", "bits/byte"],
        [
            [
                row["run_id"],
                row["liveness"],
                f"{row['step']}/{row['total_steps'] or '?'}",
                _number(row["loss"]),
                _number(row["bits_per_byte"]),
            ]
            for row in rows
        ],
        right=(2, 3, 4),
    )
    return 0


@group.command("show")
def show_run(run: RunName, as_json: AsJson = False) -> int:
    """Everything about one run: state, plan against actual, configuration with reasons."""
    from tuitrain.cli.context import find
    from tuitrain.cli.output import show, show_json
    from tuitrain.cli.telling import line_of
    from tuitrain.tui.render.plain import summary

    found = find(run)
    state = found.fold()
    if as_json:
        show_json({**_summary(found), "plan": found.plan(), "resolved": found.resolved(), "path": str(found.path)})
        return 0
    show(f"{found.run_id}   {found.liveness().text}")
    show(summary(state))
    show()
    for each in found.resolved().get("derived", []):
        show(f"  {each['key']} = {each['value']}   {each['reason']}")
    show()
    for note in state.notes[-10:]:
        show(f"  {line_of(note)}")
    show(f"\n{found.path}")
    return 0


@group.command("log")
def show_log(
    run: RunName,
    rank: Annotated[int, typer.Option("--rank", min=0, help="Whose: rank 0 shares train.log with torchrun.")] = 0,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many, from the end.")] = 200,
) -> int:
    """What a process of the run printed."""
    from tuitrain.cli.context import find
    from tuitrain.cli.output import show
    from tuitrain.errors import UsageError

    found = find(run)
    logs = found.rank_logs()
    if rank not in logs:
        there = f"there are logs of rank {', '.join(map(str, sorted(logs)))}" if logs else "nothing was started yet"
        raise UsageError(f"{found.run_id} has no log of rank {rank}", there)
    for line in logs[rank].read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]:
        show(line)
    return 0


@group.command("watch")
def watch(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Run id, a unique part of it, or `latest`.")] = "latest",
    plain: Annotated[bool, typer.Option("--plain", help="Lines of text instead of the interface.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The events, one JSON object per line.")] = False,
) -> int:
    """Re-attach to a run: the dashboard on a terminal, lines of text elsewhere."""
    import sys

    from tuitrain.cli.context import find
    from tuitrain.cli.watching import watch_plain

    found = find(run)
    if plain or as_json or not sys.stdout.isatty():
        return watch_plain(found, as_json=as_json)
    from tuitrain.cli.interface import open_interface

    return open_interface(run_id=found.run_id)


@group.command("save")
def save(run: RunName) -> int:
    """Ask for a checkpoint now."""
    return _ask(run, "save")


@group.command("pause")
def pause(run: RunName) -> int:
    """Save, then hold still with everything in memory."""
    return _ask(run, "pause")


@group.command("resume")
def resume_run(
    run: RunName,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Another layout, for example parallel.zero=3.", show_default=False),
    ] = None,
    nproc: Annotated[int | None, typer.Option(help="Another number of processes (run.nproc).")] = None,
) -> int:
    """Go on: a paused run at once, an ended or dead one from its newest whole checkpoint; in another layout if asked for."""
    from tuitrain.cli.context import find
    from tuitrain.cli.diagnostics import say
    from tuitrain.config.resolved import load_resolved
    from tuitrain.errors import UsageError
    from tuitrain.runs.launch import resume
    from tuitrain.runs.relayout import relayout

    found = find(run)
    alive = found.liveness()
    if alive.alive:
        status = found.status()
        if status is not None and status.state == "paused":
            return _ask(run, "resume")
        raise UsageError(f"{found.run_id} is running", f"`tuitrain runs watch {found.run_id}` shows it")
    if found.fold().state == "finished":
        raise UsageError(f"{found.run_id} is finished", "start a new run with a larger train.steps")
    layout = [*(overrides or []), *([] if nproc is None else [f"run.nproc={nproc}"])]
    if layout:
        relayout(load_resolved(found.path), layout).save(found.path)
    resume(found)
    say(f"resumed {found.run_id}; `tuitrain runs watch {found.run_id}` shows it")
    return 0


@group.command("stop")
def stop(run: RunName, kill: Annotated[bool, typer.Option("--kill", help="End it at once, saving nothing.")] = False) -> int:
    """Save a checkpoint and stop. `runs resume` goes on from there."""
    if not kill:
        return _ask(run, "stop")
    from tuitrain.cli.context import find
    from tuitrain.cli.diagnostics import say
    from tuitrain.runs.kill import kill as kill_run

    found = find(run)
    kill_run(found)
    say(f"killed {found.run_id}")
    return 0


@group.command("rm")
def remove(run: RunName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> int:
    """Delete a run with its checkpoints."""
    from tuitrain.cli.context import find, store
    from tuitrain.cli.diagnostics import say

    found = find(run)
    if not yes:
        typer.confirm(f"delete {found.path} with {len(found.checkpoint_steps())} checkpoints?", abort=True, err=True)
    store().remove(found)
    say(f"deleted {found.run_id}")
    return 0


def _ask(name: str, command: Any, *, wait_s: float = 60.0) -> int:
    """Send a request and wait for its acknowledgement."""
    import time

    from tuitrain.cli.context import find
    from tuitrain.cli.diagnostics import say
    from tuitrain.errors import RunError, UsageError
    from tuitrain.events import RunReader
    from tuitrain.runs.control import send

    run = find(name)
    if not run.liveness().alive:
        raise UsageError(
            f"{run.run_id} is not running ({run.liveness().text})", f"`tuitrain runs resume {run.run_id}` starts it again"
        )
    reader = RunReader(run.events_dir)
    reader.read()
    request = send(run.control_file, command)
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        for event in reader.read():
            if event.kind == "control_ack" and event.data.get("id") == request.id:
                say(f"{run.run_id}: {event.data.get('detail', '')}")
                return 0 if event.data.get("ok") else 1
        if not run.liveness().alive:
            raise RunError(f"{run.run_id} ended before it answered ({run.liveness().text})", f"see {run.log_file}")
        time.sleep(0.05)
    raise RunError(
        f"{run.run_id} has not answered {command!r} for {wait_s:.0f} s ({run.liveness().text})",
        f"it answers between steps; `tuitrain runs stop --kill {run.run_id}` ends it at once",
    )


def _summary(run: Any) -> dict[str, Any]:
    from tuitrain.cli.rank_facts import planned_peak_bytes, rank_facts, skew_facts

    state = run.fold()
    alive = run.liveness()
    best, fullest = state.best_eval, state.fullest
    return {
        "run_id": run.run_id,
        "state": state.state,
        "liveness": alive.text if alive.stale or not alive.alive else state.state,
        "alive": alive.alive,
        "step": state.step,
        "total_steps": state.total_steps,
        "loss": state.steps.last("loss"),
        "eval_loss": state.evals.last("loss"),
        "bits_per_byte": state.evals.last("bits_per_byte"),
        "best_eval_loss": best[1] if best else None,
        "tokens_per_s": state.steps.last("tokens_per_s"),
        "peak_bytes": state.steps.last("peak_bytes"),
        "planned_peak_bytes": planned_peak_bytes(state),
        "fullest_rank": fullest.rank if fullest is not None else None,
        "ranks": rank_facts(state),
        "skew": skew_facts(state),
        "attempts": state.attempts,
        "checkpoints": run.checkpoint_steps(),
        "warnings": len(state.notes),
    }


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"
