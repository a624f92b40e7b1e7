"""What was found out about fine-tuning data before it is trained on. A finding that blocks says how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["ok", "warn", "block"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One fact. `check` is what was looked at (mask, template, end-token, packing, ...)."""

    check: str
    severity: Severity
    message: str
    fix: str = ""
    """What to do about it; never empty when it blocks."""
    where: tuple[str, ...] = ()
    """The first places it was seen, as `file:line`."""
    count: int = 0
    """Examples concerned."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Finding:
        """The inverse of `to_dict`."""
        return cls(**{**raw, "where": tuple(raw["where"])})


class FindingCounter:
    """Gathers one kind of finding over many examples: counts all, names the first few."""

    NAMED = 5

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, kind: str, where: str) -> None:
        """One more example of a kind."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        places = self._places.setdefault(kind, [])
        if len(places) < self.NAMED:
            places.append(where)

    def kinds(self) -> list[str]:
        """All that was added."""
        return sorted(self._counts)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {kind: {"count": count, "places": self._places[kind]} for kind, count in self._counts.items()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> FindingCounter:
        """The inverse of `to_dict`."""
        counter = cls()
        counter._counts = {kind: int(each["count"]) for kind, each in raw.items()}
        counter._places = {kind: list(each["places"]) for kind, each in raw.items()}
        return counter

    def count(self, kind: str) -> int:
        """How many of a kind."""
        return self._counts.get(kind, 0)

    def places(self, kind: str) -> tuple[str, ...]:
        """The first of a kind."""
        return tuple(self._places.get(kind, ()))
