"""How far a preparation has come, for whoever shows it. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One message. `phase` is scan | tokenizer | tokenize | wait | done; bytes are bytes on disk."""

    phase: str
    source: str = ""
    detail: str = ""
    """One line for people."""
    bytes_done: int = 0
    bytes_total: int | None = None
    """None where it cannot be told (a remote dataset)."""
    documents: int = 0
    tokens: int = 0

    @property
    def done_frac(self) -> float | None:
        """Share of the phase done, 0 to 1; None where it cannot be told."""
        return min(1.0, self.bytes_done / self.bytes_total) if self.bytes_total else None


Listener = Callable[[Progress], None]
