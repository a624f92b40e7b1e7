"""Published measurements against the planner's predictions: read the table, predict every row, sum the errors up.

`validate(table, models, hardware)` judges every row; `summary` counts. A row is never an error: what cannot be predicted has a
reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tuitrain_planners.errors import PlanError
from tuitrain_planners.validation import compute_rows, energy_rows, memory_rows, throughput_rows
from tuitrain_planners.validation.judged import Judged, Prediction
from tuitrain_planners.validation.rows import Row, Table, parse_rows, read_rows
from tuitrain_planners.validation.shapes_of_rows import NotComputableError
from tuitrain_planners.validation.summary import Summary, by_source, one_per_run, summarise

__all__ = [
    "Judged",
    "NotComputableError",
    "Prediction",
    "Row",
    "Summary",
    "Table",
    "by_source",
    "judge",
    "one_per_run",
    "parse_rows",
    "read_rows",
    "summarise",
    "validate",
]


def validate(rows: Iterable[Row], models: Path | None, hardware: Path | None) -> tuple[Judged, ...]:
    """Every row judged; `models` and `hardware` are the folders of presets."""
    return tuple(judge(row, models, hardware) for row in rows)


def judge(row: Row, models: Path | None, hardware: Path | None) -> Judged:
    """One row: its prediction, or the reason why there is none."""
    try:
        return Judged(row=row, prediction=_predict(row, models, hardware))
    except NotComputableError as error:
        return Judged(row=row, prediction=None, reason=error.message)
    except PlanError as error:  # a preset or a recipe refuses the row's values
        return Judged(row=row, prediction=None, reason=error.message)


def _predict(row: Row, models: Path | None, hardware: Path | None) -> Prediction:
    """By what the row measured; utilisation without a sequence of training steps is a compute row."""
    if row.metric in memory_rows.METRICS or "memory" in row.metric or row.metric.startswith("activation"):
        return memory_rows.memory_row(row, models, hardware).predict()
    if row.metric in energy_rows.METRICS:
        return energy_rows.energy_row(row, hardware)
    if row.metric in throughput_rows.METRICS and not _without_layout(row):
        return throughput_rows.throughput_row(row, models, hardware).prediction()
    return compute_rows.compute_row(row, models, hardware)


def _without_layout(row: Row) -> bool:
    """Compute tables tell utilisation of a whole system, with its tokens per second in the notes."""
    return row.metric in ("MFU", "HFU") and "tokens/s at" in row.text("notes")
