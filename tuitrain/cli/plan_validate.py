"""`tuitrain plan validate FILE.csv`: published or own measurements beside what the planner predicts. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuitrain_planners.validation import Judged, Summary

_SHOWN: Final = {
    "bytes": (2**30, "GiB"), "FLOP/s": (1e12, "TFLOP/s"), "J": (3.6e9, "MWh"), "kg": (1000, "t"),
}  # fmt: skip
"""How a person reads a base unit."""


def validate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="Measurements, one a line: id, metric, value, the run's columns.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Rows and summary as JSON, in SI base units.")] = False,
    source: Annotated[
        str | None, typer.Option(help="Only rows of this source: the middle of their ids.", show_default=False)
    ] = None,
    only_summary: Annotated[bool, typer.Option("--summary", help="No rows, only what they come to.")] = False,
) -> int:
    """Predict every row of a table of measurements; say how far off the prediction is, or why there is none."""
    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show, show_json
    from tuitrain.errors import EXIT_OK, UsageError
    from tuitrain.runs.home import presets_dir
    from tuitrain_planners.validation import read_rows
    from tuitrain_planners.validation import validate as judge_all

    table = read_rows(file)
    if table.unknown_columns:
        say(f"not read: column {', '.join(table.unknown_columns)}")
    rows = [row for row in table.rows if source is None or row.source == source]
    if not rows:
        raise UsageError(f"no row is from {source}", f"the table has {', '.join(sorted({row.source for row in table.rows}))}")
    judged = judge_all(rows, presets_dir() / "models", presets_dir() / "hardware")
    if as_json:
        show_json(_report(judged))
        return EXIT_OK
    if not only_summary:
        _show_rows(judged)
        show()
    _show_summaries(judged)
    return EXIT_OK


def _cuts(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Complete rows, with and without those whose own source is doubtful; incomplete ones apart."""
    complete = [each for each in judged if each.row.complete]
    cuts = {
        "complete rows": complete,
        "without doubtful ones": [each for each in complete if not each.doubt],
        "incomplete rows": [each for each in judged if not each.row.complete],
    }
    return {name: chosen for name, chosen in cuts.items() if chosen}


def _report(judged: Sequence[Judged]) -> dict[str, Any]:
    """`summary` is of the complete rows, or of all where none is."""
    from tuitrain_planners.validation import by_source, summarise

    cuts = _cuts(judged)
    complete = cuts.get("complete rows", list(judged))
    return {
        "rows": [each.to_dict() for each in judged],
        "summary": summarise(complete).to_dict(),
        "summaries": {name.replace(" ", "_"): summarise(chosen).to_dict() for name, chosen in cuts.items()},
        "by_source": {name: each.to_dict() for name, each in by_source(complete).items()},
    }


def _show_rows(judged: Sequence[Judged]) -> None:
    from tuitrain.cli.output import show_table

    lines = []
    for each in judged:
        made = each.prediction
        if made is None:
            lines.append([each.row.id, each.row.metric, "-", each.row.text("value"), "", "", each.reason])
            continue
        factor, unit = _SHOWN.get(made.unit, (1, made.unit))
        measured = "OOM" if made.measured is None else f"{made.measured / factor:.4g}"
        error = "" if each.error is None else f"{each.error:+.1%}"
        words = [f"doubtful: {each.doubt}"] if each.doubt else []
        if made.does_not_fit is not None:
            words.insert(0, "right: does not fit" if made.does_not_fit else "wrong: would fit")
        lines.append([each.row.id, each.row.metric, f"{made.value / factor:.4g}", measured, unit, error, "; ".join(words)])
    show_table(["row", "metric", "predicted", "measured", "unit", "error", ""], lines, right=(2, 3, 5))


def _show_summaries(judged: Sequence[Judged]) -> None:
    from tuitrain.cli.output import show_table
    from tuitrain_planners.validation import by_source, summarise

    cuts = _cuts(judged)
    lines = [_line(f"  {name}", each) for name, each in by_source(cuts.get("complete rows", [])).items()]
    lines += [_line(name, summarise(chosen)) for name, chosen in cuts.items()]
    header = ["", "rows", "computed", "coverage", "runs", "median error", "90th pct", "bias", "OOM right"]
    show_table(header, lines, right=range(1, len(header)))


def _line(name: str, each: Summary) -> list[str]:
    errors = [
        "" if value is None else f"{value:{sign}.1%}"
        for value, sign in ((each.median_error, ""), (each.p90_error, ""), (each.bias, "+"))
    ]
    oom = f"{each.out_of_memory_right} of {each.out_of_memory}" if each.out_of_memory else ""
    return [name, str(each.rows), str(each.computed), f"{each.coverage:.0%}", str(each.observations), *errors, oom]
