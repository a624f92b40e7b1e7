"""stdout: data, and nothing else. Tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from tuitrain.text import clean, clean_line


def show(text: str = "") -> None:
    """Lines of text, made safe."""
    print(clean(text), flush=True)


def show_raw(text: str) -> None:
    """Text this program made itself (colours included)."""
    print(text, flush=True)


def show_json(value: Any) -> None:
    """One JSON document. Numbers that are not finite become null: JSON has no word for them."""
    json.dump(_finite(value), sys.stdout, indent=2, allow_nan=False, ensure_ascii=False)
    print(flush=True)


def show_json_line(value: Any) -> None:
    """One JSON document on one line, for streams."""
    print(json.dumps(_finite(value), allow_nan=False, ensure_ascii=False), flush=True)


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Aligned columns, two spaces apart; the columns in `right` are right-aligned."""
    cells = [[clean_line(cell) for cell in row] for row in [list(header), *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        parts = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(parts).rstrip())
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
