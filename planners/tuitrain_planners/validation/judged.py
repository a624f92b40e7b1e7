"""What became of one row: a prediction beside its measurement, or the reason why there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from tuitrain_planners.validation.rows import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A predicted value and the measured one in the same unit; SI base units."""

    value: float
    measured: float | None
    """None where the source says only that the run did not fit."""
    unit: str
    low: float
    high: float
    does_not_fit: bool | None = None
    """For rows out of memory: whether the prediction does not fit either."""


def exactly(value: float, measured: float | None, unit: str) -> Prediction:
    """A prediction without a band: arithmetic."""
    return Prediction(value=value, measured=measured, unit=unit, low=value, high=value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One row and its verdict."""

    row: Row
    prediction: Prediction | None
    reason: str = ""
    """Why the row cannot be computed."""

    @property
    def error(self) -> float | None:
        """Predicted over measured, less one; None where there is nothing to compare."""
        if self.prediction is None or self.prediction.measured is None:
            return None
        return self.prediction.value / self.prediction.measured - 1

    @property
    def doubt(self) -> str:
        """Why the source itself is doubtful; "" where it is not."""
        return doubt_about(self.row)

    def to_dict(self) -> dict[str, Any]:
        """The row of `plan validate --json`."""
        made, row = self.prediction, self.row
        verdict = None if made is None or made.does_not_fit is None else "right" if made.does_not_fit else "wrong"
        return {
            "id": row.id,
            "source": row.source,
            "metric": row.metric,
            "predicted": None if made is None else made.value,
            "measured": None if made is None else made.measured,
            "low": None if made is None else made.low,
            "high": None if made is None else made.high,
            "unit": None if made is None else made.unit,
            "error": self.error,
            "reason": self.reason or None,
            "complete": row.complete,
            "doubt": self.doubt or None,
            "out_of_memory_verdict": verdict,
        }


_DOUBTS: Final = (
    r"suspect[^;.]*", r"contradict[^;.]*", r"conflicts? with[^;.]*", r"[^;.]*\btypo\b[^;.]*", r"[^;.]*below [^;.]*floor[^;.]*",
    r"config(s)? listed twice[^;.]*", r"before pcie/numa fix[^;.]*", r"[^;.]*too close to oom[^;.]*", r"[^;.]*swapped[^;.]*",
    r"[^;.]*(approximate|rounded) \(~\)[^;.]*", r"header value approximate", r"likely ran on[^;.]*", r"identical to[^;.]*",
    r"[^;.]*not reproducible[^;.]*",
)  # fmt: skip


def doubt_about(row: Row) -> str:
    """What the table itself says against a row."""
    scope, notes = row.text("value_scope").lower(), row.text("notes")
    if scope.startswith("unclear") and (row.count("n_gpus") or 1) > 1:
        return f"scope {row.text('value_scope')}"
    if match := re.search(r"except (\S+) row", notes):  # a note on a whole table that names the row that is wrong
        return f"the source's {match[1]} row is off" if match[1] in row.text("model") else ""
    for pattern in _DOUBTS:
        if match := re.search(pattern, notes, re.IGNORECASE):
            return match[0].strip()
    return ""
