"""The one error of the planner: a question it cannot answer, with the values, and what to do about it.

`kind` lets the front end choose its exit code without importing anything: "usage" (a wrong value or name) or "fit" (nothing
that was asked for fits into the memory, time or data given).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

ErrorKind = Literal["usage", "fit"]


class PlanError(ValueError):
    """`message` says what is wrong, with values; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "", *, kind: ErrorKind = "usage") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.kind: ErrorKind = kind

    def __str__(self) -> str:
        return f"error: {self.message}" + (f"\n\nhint: {self.hint}" if self.hint else "")


def unknown_name(what: str, name: str, known: Iterable[str]) -> PlanError:
    """The error for a name that does not exist: the nearest names first, then all of them."""
    import difflib  # only on the way to an error: it pulls in `re` machinery nobody else needs

    names = sorted(known)
    folded = {each.lower(): each for each in names}
    start = [each for each in folded if name and each.startswith(name.lower())]
    alike = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)
    near = [folded[each] for each in dict.fromkeys((*start, *alike))][:3]
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return PlanError(f"unknown {what} {name!r}", hint + f"known: {', '.join(names) or 'none'}")
