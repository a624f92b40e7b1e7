"""Which implementation runs, and why. A candidate is taken only after it agreed with the reference on this very device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The implementation taken and the reason, with every faster one that was passed over and why."""

    name: str
    reason: str
    rejected: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        passed_over = "".join(f"; not {name}: {why}" for name, why in self.rejected)
        return f"{self.name} ({self.reason}{passed_over})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One implementation: `unavailable()` says why it cannot run here (None when it can), `error()` its error against the
    reference."""

    name: str
    unavailable: Callable[[], str | None]
    error: Callable[[], float]
    tolerance: float
    praise: str


def first_that_passes(candidates: Sequence[Candidate]) -> Choice:
    """The first candidate, fastest first, that is available and agrees with the reference.

    RuntimeError when none does: a wrong kernel is never used silently.
    """
    rejected: list[tuple[str, str]] = []
    for candidate in candidates:
        if why := candidate.unavailable():
            rejected.append((candidate.name, why))
            continue
        try:
            error = candidate.error()
        except (RuntimeError, NotImplementedError, ImportError, ValueError) as failure:
            rejected.append((candidate.name, f"self-test raised {type(failure).__name__}: {_first_line(failure)}"))
            continue
        if not error <= candidate.tolerance:  # NaN fails too
            rejected.append((candidate.name, f"self-test error {error:.2e} exceeds {candidate.tolerance:.0e}"))
            continue
        return Choice(name=candidate.name, reason=f"{candidate.praise}, self-test error {error:.1e}", rejected=tuple(rejected))
    raise RuntimeError("no implementation passed its self-test: " + "; ".join(f"{name}: {why}" for name, why in rejected))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else ""
