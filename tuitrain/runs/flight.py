"""flight.json as viewers read it: what a run's flight check found. `tuitrain.trainer.flight.report` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tuitrain.data.chat.findings import Finding, Severity
from tuitrain.files import read_json

FILE: Final = "flight.json"
SEVERITIES: Final[tuple[Severity, ...]] = ("block", "warn", "ok")
"""The worst first."""


def read_findings(run_dir: Path) -> tuple[Finding, ...] | None:
    """The findings, the worst first; None where there was no flight check. What is no finding is passed over."""
    raw = read_json(run_dir / FILE)
    if not isinstance(raw, list):
        return None
    found = [finding for each in raw if (finding := _finding(each)) is not None]
    return tuple(sorted(found, key=lambda each: SEVERITIES.index(each.severity)))


def _finding(raw: Any) -> Finding | None:
    if not isinstance(raw, dict) or raw.get("severity") not in SEVERITIES:
        return None
    where, count = raw.get("where"), raw.get("count")
    return Finding(
        check=str(raw.get("check", "")), severity=raw["severity"], message=str(raw.get("message", "")),
        fix=str(raw.get("fix") or ""), where=tuple(map(str, where)) if isinstance(where, list) else (),
        count=count if isinstance(count, int) else 0,
    )  # fmt: skip
