"""Findings written down and judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tuitrain.data.chat.findings import Finding
from tuitrain.errors import EXIT_USAGE, TuitrainError
from tuitrain.files import read_json, write_json
from tuitrain.trainer.telemetry import Telemetry

FILE = "flight.json"
_ORDER = ("block", "warn", "ok")


class FlightError(TuitrainError):
    """A finding that blocks. Carries all of them."""

    exit_code = EXIT_USAGE

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = []
        for each in findings:
            places = f" ({', '.join(each.where[:3])})" if each.where else ""
            lines.append(f"{each.check}: {each.message}{places}")
        many = len(findings) > 1
        count = f"{len(findings)} finding{'s' * many} of the flight check block{'s' * (not many)} the start"
        super().__init__("\n  ".join([count, *lines]), "; or ".join(dict.fromkeys(each.fix for each in findings if each.fix)))


def judge(run_dir: Path, findings: Sequence[Finding], telemetry: Telemetry, *, is_main: bool) -> None:
    """Write them down, tell them, and stop at what blocks."""
    ordered = sorted(findings, key=lambda each: _ORDER.index(each.severity))
    if is_main:
        write_json(run_dir / FILE, [each.to_dict() for each in ordered])
        for each in ordered:
            print(f"flight check: [{each.severity}] {each.check}: {each.message}", flush=True)
            if each.severity == "warn":
                telemetry.warn(f"{each.check}: {each.message}", each.fix)
    if blocking := [each for each in ordered if each.severity == "block"]:
        raise FlightError(blocking)


def read_flight(run_dir: Path) -> list[Finding]:
    """What a run's flight check found; empty where there was none."""
    raw = read_json(run_dir / FILE)
    return [Finding.from_dict(each) for each in raw] if isinstance(raw, list) else []
