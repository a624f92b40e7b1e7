"""Reading a table of measurements: CSV with a header, one measurement a line, columns in any order.

Which columns there may be is the format's (`id metric value unit`, the model's sizes, the recipe, the hardware); what is not
known is reported, not read. Every error names the line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuitrain_planners.errors import PlanError

REQUIRED: Final = ("id", "metric", "value")
COUNTS: Final = (
    "n_layers", "hidden", "n_heads", "n_kv_heads", "vocab", "params", "active_params", "non_embedding_params",
    "trainable_params", "lora_rank", "tp", "pp", "vp", "ep", "cp", "dp", "n_gpus", "micro_batch", "grad_accum", "global_batch",
    "seq_len", "tokens", "steps", "batch", "head_dim",
)  # fmt: skip
"""Columns that hold a whole number of at least 1, or nothing."""
NUMBERS: Final = (
    "gpu_mem_gb", "value_gib_lo", "value_gib_hi", "gpu_hours", "hours", "days", "mfu_pct", "usd_per_gpu_hour",
    "watts_per_device", "pue", "kgco2_per_kwh",
)  # fmt: skip
"""Columns that hold a number of at least 0, or nothing."""
TEXTS: Final = (
    *REQUIRED, "source", "where", "model", "ffn", "tied", "method", "lora_targets", "precision", "optimizer", "sharding", "gpu",
    "activation_checkpointing", "compile", "attention", "unit", "unit_note", "value_scope", "kind", "complete", "notes", "best",
    "watts_basis", "causal", "pass",
)  # fmt: skip
KNOWN: Final = frozenset((*COUNTS, *NUMBERS, *TEXTS))

_BOUND = re.compile(r"[<>~]=?\s*[\d.]+(e[+-]?\d+)?")
_LIST = re.compile(r"[\d.]+(\+[\d.]+)+")
_LAW = re.compile(r"[\d.]+\s*\*\s*[A-Z]\^[\d.]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measurement."""

    line: int
    values: Mapping[str, str]

    def text(self, column: str) -> str:
        """What the column says, "" where it is empty or missing."""
        return self.values.get(column, "")

    def number(self, column: str) -> float | None:
        """The column's number; None where it is empty."""
        return float(text) if (text := self.text(column)) else None

    def count(self, column: str) -> int | None:
        """The column's whole number; None where it is empty."""
        return int(float(text)) if (text := self.text(column)) else None

    @property
    def id(self) -> str:
        """Name of the row."""
        return self.text("id")

    @property
    def metric(self) -> str:
        """What was measured."""
        return self.text("metric")

    @property
    def source(self) -> str:
        """Tag of the source: the middle of the id (T-MPT-005: MPT), else what the source column begins with."""
        parts = self.id.split("-")
        return parts[1] if len(parts) == 3 else re.split(r"[:@(]", self.text("source") or "unknown")[0].strip()

    @property
    def out_of_memory(self) -> bool:
        """Whether the run did not fit."""
        return self.text("value").strip().upper() == "OOM"

    @property
    def measured(self) -> float | None:
        """The value; None where it is no single number."""
        try:
            return float(self.text("value"))
        except ValueError:
            return None

    @property
    def complete(self) -> bool:
        """Whether the source states all that is needed to recompute the value; a table that does not say is taken to."""
        return self.text("complete").lower() in ("yes", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """All rows of a file."""

    rows: tuple[Row, ...]
    unknown_columns: tuple[str, ...]
    """Columns the format does not have; nothing of them is read."""


def read_rows(path: Path) -> Table:
    """The rows of a CSV file; what cannot be read is a PlanError that names the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlanError(f"cannot read {path}: {error.strerror}", "give the path of a CSV file of measurements") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8") from error
    return parse_rows(text, str(path))


def parse_rows(text: str, name: str = "the table") -> Table:
    """The rows of CSV text."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if not header or not any(each.strip() for each in header):
            raise PlanError(f"{name} is empty", "the first line names the columns: " + ", ".join(REQUIRED) + ", ...")
        columns = [each.strip() for each in header]
        _check_header(name, columns)
        rows = [
            _row(name, reader.line_num, columns, [each.strip() for each in fields])
            for fields in reader
            if any(each.strip() for each in fields)
        ]
    except csv.Error as error:
        raise PlanError(f"{name}, line {reader.line_num}: {error}", "the file is not valid CSV") from error
    if not rows:
        raise PlanError(f"{name} has a header and no rows", "one measurement per line")
    return Table(rows=tuple(rows), unknown_columns=tuple(each for each in columns if each not in KNOWN))


def _check_header(name: str, columns: list[str]) -> None:
    if missing := [each for each in REQUIRED if each not in columns]:
        raise PlanError(
            f"{name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            f"its columns: {', '.join(columns)}",
        )
    if twice := sorted({each for each in columns if columns.count(each) > 1}):
        raise PlanError(f"{name} has the column {', '.join(twice)} twice", "columns have different names")


def _row(name: str, line: int, columns: list[str], fields: list[str]) -> Row:
    if len(fields) != len(columns):
        found = f"{len(fields)} fields for {len(columns)} columns"
        raise PlanError(f"{name}, line {line}: {found}", "quote fields that hold a comma")
    row = Row(line=line, values=dict(zip(columns, fields, strict=True)))
    for column in REQUIRED:
        if not row.text(column):
            raise PlanError(f"{name}, line {line}: {column} is empty", "every row has an id, a metric and a value")
    for column in (*COUNTS, *NUMBERS):
        if text := row.text(column):
            _check_number(f"{name}, line {line}: {column}", text, whole=column in COUNTS)
    value = row.text("value")
    if row.measured is None and not (row.out_of_memory or any(each.fullmatch(value) for each in (_BOUND, _LIST, _LAW))):
        raise PlanError(
            f"{name}, line {line}: value {value!r} is no number", "a number, OOM, a bound as >780, or a list as 70.2+77.1"
        )
    if row.measured is not None and not 0 < row.measured < float("inf"):
        raise PlanError(f"{name}, line {line}: value {value} is not above zero", "a measurement is a positive number")
    return row


def _check_number(where: str, text: str, *, whole: bool) -> None:
    hint = "a whole number of at least 1, or nothing" if whole else "a number of at least 0, or nothing"
    try:
        number = float(text)
    except ValueError:
        raise PlanError(f"{where} {text!r} is no number", hint) from None
    if not (1 if whole else 0) <= number < float("inf") or (whole and number != int(number)):
        raise PlanError(f"{where} is {text}", hint)
