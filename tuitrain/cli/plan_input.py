"""What was typed after `tuitrain plan`, checked before the planner sees it: files, counts, and options that exclude each other.

The bounds are far beyond anything that was ever trained, and below where arithmetic stops to mean something.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tuitrain_planners import ModelShape

MOST_COUNT: Final = 10_000_000
"""Devices, tokens of a sequence, sequences, forward passes."""
MOST_HOURS: Final = 1e6
"""A century."""
MOST_USD: Final = 1e6
MOST_TOKENS: Final = 1e18
MOST_PARAMETERS: Final = 1e15
MOST_DEPTH: Final = 1024


def refuse_several(given: Mapping[str, bool]) -> None:
    """Of options that each decide what is printed, one."""
    from tuitrain.errors import UsageError

    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} each decide what is printed", "give one of them")


def refuse_not_within(name: str, value: float | None, most: float) -> None:
    """Option values that are no number, or beyond any use. Negative ones are the planner's to refuse."""
    from tuitrain.errors import UsageError

    if value is not None and not (math.isfinite(value) and value <= most):
        raise UsageError(f"{name} {value:g}", f"a number up to {most:g}")


def refuse_count(name: str, value: int | None) -> None:
    """Whole numbers that are too small or beyond any use."""
    from tuitrain.errors import UsageError

    if value is not None and not 1 <= value <= MOST_COUNT:
        raise UsageError(f"{name} {value}", f"a whole number from 1 to {MOST_COUNT}")


def count_within(name: str, text: str, most: float) -> float:
    """A count from 1 to `most`. UsageError outside, PlanError for what is no number."""
    from tuitrain.errors import UsageError
    from tuitrain_planners import parse_count

    value = parse_count(text)
    if not 1 <= value <= most:
        raise UsageError(f"{name} {text[:80]}", f"a number from 1 to {most:g}")
    return value


def shape_of_file(model: str) -> ModelShape | None:
    """The model of a config.json or its folder; None when `model` names neither."""
    from tuitrain.errors import UsageError
    from tuitrain_planners import PlanError, shape_from_hf

    try:
        path = Path(model).expanduser()
        folder = path.is_dir()
        file = path / "config.json" if folder else path
        if not (model.endswith(".json") or (folder and file.exists())):
            return None
        if not file.is_file():
            raise UsageError(f"{str(file)[:200]}: {_what_is(file)}", "name a Hugging Face config.json, its folder, or a preset")
        return shape_from_hf(path)
    except (OSError, ValueError, RuntimeError) as error:  # PlanError is a ValueError
        hint = "a config.json as transformers writes it: JSON in UTF-8, by model_type"
        if isinstance(error, PlanError):
            raise error if error.hint else PlanError(error.message, hint) from error
        reason = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {model[:200]!r}: {reason}", hint) from error


def _what_is(path: Path) -> str:
    if not path.exists():
        return "there is no such file"
    return "it is a folder" if path.is_dir() else "it is no regular file"
