"""`tuitrain plan calibrate`: fold what runs measured on this machine back into its plans; `--undo` takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tuitrain.runs.calibrating import Compared, Figures, Outcome
    from tuitrain_planners import Calibration

LEFT_OUT_SHOWN = 5
REFUSED_HINT = (
    "was the machine busy when it was measured? `tuitrain plan calibrate --remeasure`; was it a run? then remove that run"
)


def calibrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the newest calibration back.")] = False,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Measure this machine again first: the cure when it was busy the first time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> int:
    """Correct this machine's plans by what its finished runs measured: tokens/s, peak memory, power. Shows before and after."""
    from tuitrain.cli.context import store
    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show, show_json
    from tuitrain.errors import EXIT_OK, UsageError
    from tuitrain.runs.calibrating import calibrate_from_runs
    from tuitrain.runs.calibration import undo_calibration
    from tuitrain.runs.machine import this_machine

    if undo and (dry_run or remeasure):
        raise UsageError("--undo takes the newest calibration back, and nothing else", "leave --dry-run and --remeasure out")
    if dry_run and remeasure:
        raise UsageError("--remeasure writes what it measures, and --dry-run writes nothing", "give one of them")
    if undo:
        keys = undo_calibration()
        show_json({"undone": keys}) if as_json else show("\n".join(f"taken back: {_device(key)}" for key in keys))
        return EXIT_OK
    if remeasure:
        say("measuring this machine again: some seconds for every precision it has trained in; close other programs")
    outcome = calibrate_from_runs(store(), this_machine(), remeasure=remeasure)
    learnt = any(each.calibration for each in outcome.learnt.values())
    if not learnt and not outcome.replaced_rates:
        refusal = next(each for found in outcome.learnt.values() for each in found.calibration.refused)
        raise UsageError(
            f"{refusal.what}: {refusal.reason} (runs: {', '.join(refusal.runs)})",
            REFUSED_HINT,
        )
    if not dry_run:
        outcome.keep()
    if as_json:
        show_json(_document(outcome, written=not dry_run))
    else:
        _tell(outcome, written=not dry_run)
    return EXIT_OK


def _tell(outcome: Outcome, *, written: bool) -> None:
    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show, show_table

    for key in outcome.replaced_rates:
        show(f"measured again: {_device(key)}")
    if outcome.runs:
        header = ["run", "tokens/s planned", "measured", "after", "peak planned", "measured", "after"]
        power = any(each.measured.power_w is not None for each in outcome.runs)
        header += ["power planned", "measured", "after"] if power else []
        show_table(header, [_row(each, power=power) for each in outcome.runs], right=range(1, len(header)))
        show("")
        if not power:
            say(
                "power: no run recorded it; plans keep the assumed share of the rated power (runs on CUDA do with "
                "pip install 'tuitrain[nvidia]')"
            )
    for key, learnt in outcome.learnt.items():
        for line in _corrections(learnt.calibration):
            show(f"{_device(key)}: {line}")
        for refusal in learnt.calibration.refused:
            say(f"refused: {refusal.what}: {refusal.reason} (runs: {', '.join(refusal.runs)})")
    if any(each.calibration.refused for each in outcome.learnt.values()):
        say(f"hint: {REFUSED_HINT}")
    for run, reason in outcome.left_out[:LEFT_OUT_SHOWN]:
        say(f"left out: {run}: {reason}")
    if len(outcome.left_out) > LEFT_OUT_SHOWN:
        say(f"left out: {len(outcome.left_out) - LEFT_OUT_SHOWN} more; --json lists them")
    say("`tuitrain plan calibrate --undo` takes it back" if written else "nothing was written (--dry-run)")


def _row(compared: Compared, *, power: bool) -> list[str]:
    from tuitrain_planners import format_bytes, format_count

    each = (compared.planned, compared.measured, compared.after)
    row = [compared.run, *(format_count(round(figures.tokens_per_s)) for figures in each)]
    row += [format_bytes(figures.peak_bytes) for figures in each]
    if power:
        row += ["-" if figures.power_w is None else f"{figures.power_w:.0f} W" for figures in each]
    return row


def _corrections(found: Calibration) -> list[str]:
    from tuitrain_planners import format_bytes

    lines = [f"tokens/s x {each.factor:.3g} at width {width} ({each.source})" for width, each in found.rates.items()]
    if found.memory:
        sign, offset = ("-" if found.memory.offset_bytes < 0 else "+"), abs(found.memory.offset_bytes)
        lines.append(f"memory x {found.memory.factor:.3g} {sign} {format_bytes(offset)} ({found.memory.source})")
    if found.power:
        lines.append(f"power: {found.power.factor:.0%} of the rated ({found.power.source})")
    return lines


def _device(key: str) -> str:
    """A device key in words."""
    device, name, precision, threads = key.split("|")
    return f"{name}, {precision}" + (f", {threads} threads" if device == "cpu" else "")


def _document(outcome: Outcome, *, written: bool) -> dict[str, Any]:
    from dataclasses import asdict

    def figures(compared: Compared, name: str) -> dict[str, float | None]:
        def of(each: Figures) -> float | None:
            value: float | None = getattr(each, name)
            return value

        return {"planned": of(compared.planned), "measured": of(compared.measured), "after": of(compared.after)}

    names = ("tokens_per_s", "peak_bytes", "power_w")
    return {
        "runs": [{"run": each.run, **{name: figures(each, name) for name in names}} for each in outcome.runs],
        "corrections": {key: asdict(each.calibration) for key, each in outcome.learnt.items()},
        "left_out": [{"run": run, "reason": reason} for run, reason in outcome.left_out],
        "measured_again": sorted(outcome.replaced_rates),
        "written": written,
    }
