"""`tuitrain train CONFIG [a.b=c ...]`: plan, launch, and watch - or only show what would be done."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tuitrain.config.resolved import Resolved
    from tuitrain.runs.planning import RunPlan
    from tuitrain.runs.store import Run


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    config: Annotated[
        Path | None,
        typer.Argument(help="Configuration (TOML). Without one, the defaults and the overrides.", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Overrides, for example train.minutes=5.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the resolved configuration with reasons, the plan and the command; start nothing."
        ),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Start and return at once; `tuitrain runs watch` shows it.")
    ] = False,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare", help="Make the run's folder, print it and the torchrun command that trains it; start nothing."
        ),
    ] = False,
    gpu: Annotated[
        str | None, typer.Option(help="With --dry-run: plan for this hardware preset instead of the machine at hand.")
    ] = None,
    nproc: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Processes on this machine (run.nproc); auto: one per device.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> int:
    """Train a model. The run is detached: closing this terminal, or Ctrl-C, does not touch it."""
    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.watching import watch_plain
    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.errors import UsageError
    from tuitrain.runs.home import presets_dir
    from tuitrain.runs.launch import launch
    from tuitrain.runs.launch import prepare as prepare_folder
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.planning import plan_for_run
    from tuitrain.runs.preflight import preflight, refuse
    from tuitrain_planners import find_hardware

    wanted = list(overrides or [])
    if config is not None and "=" in str(config):  # only overrides were given
        wanted, config = [str(config), *wanted], None
    if nproc is not None:
        wanted.append(f"run.nproc={nproc}")
    if prepare and (dry_run or detach):
        raise UsageError(f"--prepare and {'--dry-run' if dry_run else '--detach'} exclude each other", "give one of them")
    if gpu is not None and not dry_run:
        raise UsageError("--gpu plans for another machine, and a run starts on this one", "add --dry-run, or leave --gpu out")
    asked = load_config(config, [*wanted, *(["run.device=cuda"] if gpu else [])])
    resolved = resolve(asked, this_machine(), say, plan_only=dry_run)
    if not dry_run:  # before planning, which may measure this machine for a minute first
        refuse(preflight(resolved.config, this_machine(), by_hand=prepare))
    hardware = None if gpu is None else find_hardware(presets_dir() / "hardware", gpu)
    plan = plan_for_run(resolved, hardware=hardware)
    asked_with = " ".join(["tuitrain train", *([str(config)] if config else []), *wanted])
    if dry_run:
        return _show_dry_run(resolved, plan, here=gpu is None, as_json=as_json)

    from tuitrain.cli.context import store
    from tuitrain.cli.output import show, show_json

    if prepare:
        run = prepare_folder(asked, store(), plan=plan.to_dict(), command=asked_with, say=say, by_hand=True)
        return _show_prepared(run, as_json=as_json)
    run = launch(asked, store(), plan=plan.to_dict(), command=asked_with, say=say)
    if as_json:
        show_json({"run_id": run.run_id, "path": str(run.path)})
    else:
        say(f"started {run.run_id}")
    if detach:
        if not as_json:
            show(run.run_id)
        return 0
    return watch_plain(run, as_json=as_json)


def _show_dry_run(resolved: Resolved, plan: RunPlan, *, here: bool, as_json: bool) -> int:
    """`here`: for this machine, whose troubles are then told too."""
    from tuitrain.cli.output import show, show_json, show_table
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.nccl import known_way
    from tuitrain.runs.preflight import preflight
    from tuitrain.runs.torchrun import torchrun_command

    config = resolved.config
    command = torchrun_command(Path("RUN_DIR"), nproc=config.run.processes)
    way = known_way(config, this_machine()) if here else None
    environment = _environment(way.environment if way else {})
    troubles = preflight(config, this_machine()) if here else []
    if as_json:
        found = {"command": command, "environment": environment, "preflight": [each.to_dict() for each in troubles]}
        show_json({**resolved.to_dict(), "plan": plan.to_dict(), **found})
        return 0
    show("configuration (* = derived)")
    rows = []
    for section_name, section in config.model_dump(mode="json").items():
        for key, value in section.items():
            reason = resolved.reason(f"{section_name}.{key}")
            text = "(settled by data and probe)" if value in ("auto", None) and not reason else _short(value)
            if value is None and not reason:
                text = "-"
            rows.append([f"{'*' if reason else ' '} {section_name}.{key}", text, reason])
    show_table(["key", "value", "why"], rows)
    show()
    show(plan.to_text())
    if troubles:
        show("before the start")
        for trouble in troubles:
            show(f"  {trouble}")
        show()
    show("command")
    show("  " + _pasteable(command, environment))
    return 0


def _show_prepared(run: Run, *, as_json: bool) -> int:
    """What starts it, and where it lies."""
    from tuitrain.cli.output import show, show_json
    from tuitrain.runs.nccl import way_of
    from tuitrain.runs.torchrun import torchrun_command

    command = torchrun_command(run.path, nproc=int(run.resolved()["config"]["run"]["nproc"]))
    environment = _environment(way_of(run.path))
    if as_json:
        show_json({"run_id": run.run_id, "path": str(run.path), "command": command, "environment": environment})
    else:
        show(str(run.path))
        show(_pasteable(command, environment))
    return 0


def _environment(way: Mapping[str, str]) -> dict[str, str]:
    """What a trainer's environment has beyond this one."""
    from tuitrain.runs.launch_environment import child_environment
    from tuitrain.runs.torchrun import trainer_environment

    env = trainer_environment({**way, **child_environment()}, attempt=1)
    env.pop("TUITRAIN_ATTEMPT")  # counted by who starts a run again; the first needs none
    return {name: value for name, value in sorted(env.items()) if os.environ.get(name) != value}


def _pasteable(command: list[str], environment: Mapping[str, str]) -> str:
    """One line for a shell."""
    return shlex.join(["env", *(f"{name}={value}" for name, value in environment.items()), *command])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 48 else text[:47] + "…"
