"""plan.json in the words of the plan event: what a run is measured against before its trainer has told its plan."""

from __future__ import annotations

from typing import Any


def plan_fields(document: dict[str, Any]) -> dict[str, Any]:
    """The fields of a plan event, as far as the document has them."""
    fields = document.get("run")
    return {name: value for name, value in fields.items() if value is not None} if isinstance(fields, dict) else {}
