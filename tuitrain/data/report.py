"""How many rows could not be read, of which kind, and the first of them by name. Standard library only."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tuitrain.data.records import BadRow

NAMED_ROWS = 100


@dataclass(kw_only=True, slots=True)
class BadRowReport:
    """Bad rows of one source. Counts are complete; names stop after NAMED_ROWS."""

    by_kind: Counter[str] = field(default_factory=Counter)
    named: list[BadRow] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Bad rows in all."""
        return self.by_kind.total()

    def add(self, row: BadRow) -> None:
        """Count a row, and keep it while there is room."""
        self.by_kind[row.kind] += 1
        if len(self.named) < NAMED_ROWS:
            self.named.append(row)

    def merge(self, other: BadRowReport) -> None:
        """Add what a later piece of the same source found."""
        self.by_kind += other.by_kind
        self.named.extend(other.named[: NAMED_ROWS - len(self.named)])

    def summary(self) -> str:
        """One line: `3 bad rows: 2 syntax, 1 null`."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.by_kind.items()))
        return f"{self.total} bad row{'s' if self.total != 1 else ''}" + (f": {kinds}" if kinds else "")

    def to_json(self) -> dict[str, Any]:
        """As it stands in report.json."""
        return {
            "total": self.total,
            "by_kind": dict(sorted(self.by_kind.items())),
            "named": [asdict(row) for row in self.named],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BadRowReport:
        """The inverse of `to_json`."""
        return cls(by_kind=Counter(data["by_kind"]), named=[BadRow(**row) for row in data["named"]])
