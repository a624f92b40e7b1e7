"""`tuitrain train CONFIG [a.b=c ...]`: plan, launch, and watch - or only show what would be done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tuitrain.config.resolved import Resolved
    from tuitrain.runs.planning import RunPlan


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
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.planning import plan_for_run
    from tuitrain_planners import find_hardware

    wanted = list(overrides or [])
    if config is not None and "=" in str(config):  # only overrides were given
        wanted, config = [str(config), *wanted], None
    if nproc is not None:
        wanted.append(f"run.nproc={nproc}")
    if gpu is not None and not dry_run:
        raise UsageError("--gpu plans for another machine, and a run starts on this one", "add --dry-run, or leave --gpu out")
    asked = load_config(config, [*wanted, *(["run.device=cuda"] if gpu else [])])
    resolved = resolve(asked, this_machine(), say, plan_only=dry_run)
    hardware = None if gpu is None else find_hardware(presets_dir() / "hardware", gpu)
    plan = plan_for_run(resolved, hardware=hardware)
    command = " ".join(["tuitrain train", *([str(config)] if config else []), *wanted])
    if dry_run:
        return _show_dry_run(resolved, plan, as_json=as_json)

    from tuitrain.cli.context import store
    from tuitrain.cli.output import show, show_json

    run = launch(asked, store(), plan=plan.to_dict(), command=command)
    if as_json:
        show_json({"run_id": run.run_id, "path": str(run.path)})
    else:
        say(f"started {run.run_id}")
    if detach:
        if not as_json:
            show(run.run_id)
        return 0
    return watch_plain(run, as_json=as_json)


def _show_dry_run(resolved: Resolved, plan: RunPlan, *, as_json: bool) -> int:
    from tuitrain.cli.output import show, show_json, show_table
    from tuitrain.runs.torchrun import torchrun_command

    nproc = resolved.config.run.processes
    command = torchrun_command(Path("RUN_DIR"), nproc=nproc)
    if as_json:
        show_json({**resolved.to_dict(), "plan": plan.to_dict(), "command": command})
        return 0
    show("configuration (* = derived)")
    rows = []
    for section_name, section in resolved.config.model_dump(mode="json").items():
        for key, value in section.items():
            reason = resolved.reason(f"{section_name}.{key}")
            text = "(settled by data and probe)" if value in ("auto", None) and not reason else _short(value)
            if value is None and not reason:
                text = "-"
            rows.append([f"{'*' if reason else ' '} {section_name}.{key}", text, reason])
    show_table(["key", "value", "why"], rows)
    show()
    show(plan.to_text())
    show("command")
    show("  " + " ".join(command))
    return 0


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 48 else text[:47] + "…"
