"""plan.json in the words of the plan event: what a run whose trainer has not told its plan yet is measured against."""

from __future__ import annotations

from typing import Any

_PATHS = {
    "loss": ("loss", "predicted"),
    "loss_curve": ("loss", "curve"),
    "tokens_per_s": ("time", "tokens_per_s"),
    "mfu_frac": ("time", "mfu"),
    "peak_bytes": ("memory", "peak_bytes"),
    "tokens": ("tokens", "planned"),
}


def plan_fields(document: dict[str, Any]) -> dict[str, Any]:
    """The fields of a plan event, as far as the document has them."""
    found = {name: value for name, path in _PATHS.items() if (value := _at(document, *path)) is not None}
    hours = _at(document, "time", "hours")
    if isinstance(hours, dict) and isinstance(hours.get("mid"), (int, float)):
        found["duration_s"] = 3600 * hours["mid"]
    return found


def _at(document: dict[str, Any], section: str, key: str) -> Any:
    part = document.get(section)
    return part.get(key) if isinstance(part, dict) else None
