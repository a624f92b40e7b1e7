"""What every benchmark shares: where results go, what machine they are from, data and model folders."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "textual", "numpy")


def save(name: str, result: dict[str, Any]) -> Path:
    """Write results/NAME.json with machine, date and versions."""
    from tuitrain.runs.machine import this_machine

    machine = this_machine()
    document = {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"cpu": machine.cpu, "cores": machine.usable_cores, "memory_gib": round(machine.memory_bytes / 2**30, 1),
                    "bf16": machine.cpu_bf16, "gpus": [gpu.name for gpu in machine.gpus]},
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        **result,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def scratch_home() -> Path:
    """A TUITRAIN_HOME of its own for a benchmark, so that neither cache nor machine.json of the user helps or is changed."""
    folder = Path(tempfile.mkdtemp(prefix="tuitrain-bench-"))
    os.environ["TUITRAIN_HOME"] = str(folder)
    return folder


def median(values: list[float]) -> float:
    """Middle value."""
    return statistics.median(values)


def table(rows: list[list[str]]) -> None:
    """Print aligned columns, the first row as the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)
