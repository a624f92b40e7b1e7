"""`tuitrain plan MODEL|CONFIG`: every number of a training run before it starts. Needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tuitrain.cli import plan_calibrate
from tuitrain.cli.default_command import DEFAULT_COMMAND, DefaultCommand
from tuitrain.cli.plan_asked import Asked, refuse_contradictions, signature
from tuitrain.cli.plan_input import refuse_several
from tuitrain.cli.plan_validate import validate

if TYPE_CHECKING:
    from tuitrain.cli.plan_fit import Layouts, Search
    from tuitrain_planners import Plan


group = typer.Typer(cls=DefaultCommand, help="Every number of a training run before it starts.")


def register(app: typer.Typer) -> None:
    """Add `plan MODEL`, and the commands beside it."""
    group.command(DEFAULT_COMMAND, hidden=True)(plan)
    group.command("calibrate")(plan_calibrate.calibrate)
    group.command("validate")(validate)
    app.add_typer(group, name="plan")


def plan(context: typer.Context, **typed: Any) -> int:
    """Parameters, FLOP, optimal tokens, memory by phase, time and loss of a training run. Exit 3 when it does not fit."""
    from tuitrain.cli.output import show
    from tuitrain.cli.plan_fit import search_of
    from tuitrain.cli.plan_fits import presets_that_fit
    from tuitrain.cli.plan_print import print_plan
    from tuitrain.errors import EXIT_DOES_NOT_FIT, EXIT_OK

    asked = Asked(**typed)
    refuse_contradictions(context, asked)
    printed = {
        "--explain": asked.explain is not None,
        "--json": asked.as_json,
        "--markdown": asked.markdown,
        "--html": asked.html,
    }
    refuse_several(printed)
    asked, search = search_of(asked, context)
    reasons: tuple[str, ...] = ()
    layouts = None
    if asked.model is not None and asked.model.endswith(".toml"):
        planned = _plan_of_config(Path(asked.model), asked.overrides or [], asked.gpu)
    elif asked.names_no_model and asked.method != "full":
        return presets_that_fit(asked)
    else:
        planned, reasons, layouts = _plan_of_options(asked, search)
    found = _simulation(planned, asked) if asked.simulate else None
    print_plan(planned, asked, simulation=found, fit=layouts)
    if reasons and not any(printed.values()):
        show("\n".join(("", "why this model", *(f"  {each}" for each in reasons))))
    return EXIT_DOES_NOT_FIT if planned.memory.verdict == "oom" else EXIT_OK


plan.__signature__ = signature()  # type: ignore[attr-defined]


def _plan_of_options(asked: Asked, search: Search | None) -> tuple[Plan, tuple[str, ...], Layouts | None]:
    """(the plan, why its model when none was named, the layouts it was chosen from)."""
    from tuitrain.cli.plan_budget import hours_of, model_of
    from tuitrain.cli.plan_fit import fitted
    from tuitrain.cli.plan_hours import best_for_hours
    from tuitrain.cli.plan_request import affordable, request_of
    from tuitrain_planners import plan as make_plan

    found = model_of(asked) if asked.names_no_model else None
    request, layouts = request_of(asked, shape=None if found is None else found[0]), None
    if search is not None:
        request, layouts = fitted(request, search)
    time = hours_of(asked, request.hardware)
    if found is not None:
        return make_plan(replace(request, tokens=found[1])), found[2], layouts
    if time is None:
        return make_plan(request), (), layouts
    if not asked.names_no_model:
        return make_plan(replace(request, tokens=affordable(request, time))), (), layouts
    return *best_for_hours(request, time), layouts


def _plan_of_config(path: Path, overrides: list[str], gpu: str | None) -> Plan:
    from tuitrain.cli.plan_request import find_or_measure
    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.planning import plan_for_run

    resolved = resolve(load_config(path, overrides), this_machine(), plan_only=True)
    hardware = None if gpu is None else find_or_measure(gpu, str(resolved.config.train.precision))
    return plan_for_run(resolved, hardware=hardware).plan


def _simulation(planned: Plan, asked: Asked) -> dict[str, Any]:
    from tuitrain.cli.plan_simulate import simulate
    from tuitrain.cli.plan_simulate_stages import simulate_stages
    from tuitrain.errors import UsageError

    if asked.explain is not None or asked.markdown or asked.html:
        raise UsageError("--simulate prints a table, or JSON with --json", "leave --explain, --markdown and --html out")
    if asked.zero == "all":
        return simulate_stages(planned)
    return simulate(planned)
