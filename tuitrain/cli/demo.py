"""`tuitrain demo`: plan, pretrain and sample on this machine, in a few minutes and without any download."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    minutes: Annotated[float, typer.Option(min=0.2, max=24 * 60, help="Wall-clock minutes for everything.")] = 3.0,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Fine-tune SmolLM2-135M-Instruct by QLoRA instead (needs the extra `demo`).")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start and return at once.")] = False,
) -> int:
    """Measure this machine, plan the best model it can train in the time, train it on Python's own source, and sample it."""
    if finetune:
        return _finetune(minutes, detach=detach)
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


def _finetune(minutes: float, *, detach: bool) -> int:
    import time

    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show
    from tuitrain.cli.watching import watch_plain
    from tuitrain.runs.demo_finetune import before_and_after, launch_finetune_demo, plan_finetune_demo
    from tuitrain.runs.home import runs_root
    from tuitrain.text import clean_line

    start_s = time.monotonic()
    planned = plan_finetune_demo(minutes, say)
    show()
    show(planned.plan.to_text())
    run = launch_finetune_demo(planned, runs_root(), command=f"tuitrain demo --finetune --minutes {minutes:g}")
    say(f"started {run.run_id}; Ctrl-C leaves it training, `tuitrain` shows the dashboard")
    if detach:
        show(run.run_id)
        return 0
    code = watch_plain(run)
    found = before_and_after(run)
    if found is not None:
        show()
        for question, before, after in found.answers:
            show(clean_line(question))
            show(f"  before  {clean_line(before)}")
            show(f"  after   {clean_line(after)}")
        change = found.loss_after / found.loss_before - 1
        show(f"held-out loss {found.loss_before:.3f} -> {found.loss_after:.3f} nats per token ({change:+.0%})")
    say(f"\nall of it took {(time.monotonic() - start_s) / 60:.1f} of {minutes:g} minutes")
    if code == 0:
        say(f"talk to it: tuitrain chat {run.run_id}   (/base asks the model it was before)")
        say(f"take it along: tuitrain export {run.run_id} --to gguf")
    return code
