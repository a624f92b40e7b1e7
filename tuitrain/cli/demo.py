"""`tuitrain demo`: plan, pretrain and sample on this machine, in a few minutes and without any download."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    minutes: Annotated[float, typer.Option(min=0.2, max=24 * 60, help="Wall-clock minutes for everything.")] = 3.0,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start and return at once.")] = False,
) -> int:
    """Measure this machine, plan the best model it can train in the time, train it on Python's own source, and sample it."""
    import time

    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show
    from tuitrain.cli.watching import watch_plain
    from tuitrain.runs.demo import launch_demo, plan_demo
    from tuitrain.runs.home import runs_root

    start_s = time.monotonic()
    planned = plan_demo(minutes, say)
    show()
    show(planned.plan.to_text())
    show("why this model")
    for candidate in planned.budget.candidates[:4]:
        show(f"  {candidate.reason}")
    show()
    run = launch_demo(planned, runs_root(), command=f"tuitrain demo --minutes {minutes:g}")
    say(f"started {run.run_id}; Ctrl-C leaves it training, `tuitrain` shows the dashboard")
    if detach:
        show(run.run_id)
        return 0
    code = watch_plain(run)
    say(f"\nall of it took {(time.monotonic() - start_s) / 60:.1f} of {minutes:g} minutes")
    if code == 0:
        say(f"talk to it: tuitrain chat {run.run_id}")
    return code
