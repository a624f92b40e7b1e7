"""Whole numbers as people write them, and the error that says which field it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tuitrain_planners import PlanError, parse_count

LARGEST: Final = 1e9
"""Far beyond anything built, near enough that a slip of the finger is caught."""
_BINARY: Final = {"ki": 2**10, "mi": 2**20, "gi": 2**30}
_SUCH_AS: Final = "such as 8, 4096, 8k (8,000) or 8Ki (8,192)"


class FieldError(Exception):
    """A field cannot be read: which one, what is wrong, what would be right."""

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.field, self.message, self.hint = field, message, hint


@contextmanager
def about(field: str) -> Iterator[None]:
    """What the planner refuses in here is about this field."""
    try:
        yield
    except PlanError as error:
        raise FieldError(field, error.message, error.hint) from error


def read_whole(text: str) -> int:
    """A count of at least 1: 8, 1_000, 8k (8,000), 8Ki (8,192). What is not whole is refused, never rounded."""
    text = text.strip()
    if (match := re.fullmatch(r"(\d+)\s*([KkMmGg]i)", text)) is not None:
        return int(match[1]) * _BINARY[match[2].lower()]
    value = parse_count(text)
    if value > LARGEST:
        raise PlanError(f"{text[:24]!r} is more than {LARGEST:.0e}", _SUCH_AS)
    if value != int(value) or value < 1:
        raise PlanError(f"{text!r} is no whole number of at least 1", _SUCH_AS)
    return int(value)
