"""`tuitrain doctor`: is this machine fit to train, and if not, what mends it."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> int:
    """Check Python, torch, device, driver, bf16, compiler, flash-attn, bitsandbytes, disk, memory, shared memory, NCCL and
    extras. Exit 4 when one fails."""
    from dataclasses import asdict

    from tuitrain.cli.output import show, show_json
    from tuitrain.errors import EXIT_ENVIRONMENT, EXIT_OK
    from tuitrain.runs.doctor import examine

    findings = []
    marks = {"pass": "ok  ", "warn": "warn", "fail": "FAIL"}
    for finding in examine():
        findings.append(finding)
        if not as_json:
            show(f"{marks[finding.level]}  {finding.check:<14} {finding.message}")
            if finding.fix and finding.level != "pass":
                show(f"      {'':<14} -> {finding.fix}")
    if as_json:
        show_json([asdict(each) for each in findings])
    return EXIT_ENVIRONMENT if any(each.level == "fail" for each in findings) else EXIT_OK
