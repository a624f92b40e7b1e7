"""How right: coverage, median and 90th percentile of the absolute error, bias; by source, and with and without doubtful rows.

One run counts once. Some sources of throughput print two metrics of a run (seconds per iteration and TFLOPS, tokens per second
and MFU): rows that differ in nothing but metric are one observation, and its first computed row stands for it. Runs out of
memory have no error; they are right where the prediction does not fit either, and counted apart.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tuitrain_planners.validation.judged import Judged
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.throughput_rows import METRICS

_NOT_THE_RUN: Final = frozenset({
    "id", "metric", "value", "unit", "unit_note", "value_scope", "value_gib_lo", "value_gib_hi", "kind", "notes", "best",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Figures over some rows."""

    rows: int
    computed: int
    observations: int
    """Runs with an error: rows less second metrics of one run, and less runs out of memory."""
    median_error: float | None
    p90_error: float | None
    bias: float | None
    """Median signed error: predicted less measured, over measured."""
    out_of_memory: int = 0
    out_of_memory_right: int = 0

    @property
    def coverage(self) -> float:
        """Computed rows over all."""
        return self.computed / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The contract's summary."""
        return {
            "rows": self.rows, "computed": self.computed, "coverage": self.coverage, "median_error": self.median_error,
            "p90_error": self.p90_error, "bias": self.bias, "observations": self.observations,
            "out_of_memory": self.out_of_memory, "out_of_memory_right": self.out_of_memory_right,
        }  # fmt: skip


def summarise(judged: Sequence[Judged]) -> Summary:
    """Figures over the rows given."""
    errors = [each.error for each in one_per_run(judged) if each.error is not None]
    sizes = sorted(map(abs, errors))
    oom = [each.prediction for each in judged if each.row.out_of_memory and each.prediction is not None]
    return Summary(
        rows=len(judged),
        computed=sum(each.prediction is not None for each in judged),
        observations=len(errors),
        median_error=statistics.median(sizes) if sizes else None,
        p90_error=percentile(sizes, 0.9),
        bias=statistics.median(errors) if errors else None,
        out_of_memory=len(oom),
        out_of_memory_right=sum(bool(each.does_not_fit) for each in oom),
    )


def by_source(judged: Iterable[Judged]) -> dict[str, Summary]:
    """The same, source by source."""
    groups: dict[str, list[Judged]] = {}
    for each in judged:
        groups.setdefault(each.row.source, []).append(each)
    return {source: summarise(rows) for source, rows in sorted(groups.items())}


def one_per_run(judged: Iterable[Judged]) -> list[Judged]:
    """Computed rows without second metrics of a run that is already there. The same configuration measured again is a run."""
    chosen: list[Judged] = []
    metrics: dict[tuple[str, ...], str] = {}
    seen: Counter[tuple[str, ...]] = Counter()
    for each in judged:
        if each.prediction is None:
            continue
        if each.row.metric not in METRICS:
            chosen.append(each)
            continue
        run = _run(each.row)
        occurrence = (*run, str(seen[(*run, each.row.metric)]))
        seen[(*run, each.row.metric)] += 1
        if metrics.setdefault(occurrence, each.row.metric) == each.row.metric:
            chosen.append(each)
    return chosen


def _run(row: Row) -> tuple[str, ...]:
    return tuple(f"{column}={value}" for column, value in sorted(row.values.items()) if value and column not in _NOT_THE_RUN)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Of sorted values, linear between them."""
    if not values:
        return None
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)
