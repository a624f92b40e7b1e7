"""A configuration with its open ends filled in, each with the reason beside it. This is resolved.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tuitrain.config.schema import Config
from tuitrain.errors import UsageError
from tuitrain.files import read_json, write_json

FILE = "resolved.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """One value nobody asked for by number, and why it is what it is."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """The configuration as run. `derived` is in the order things were decided; a later entry of a key replaces an earlier."""

    config: Config
    derived: tuple[Derived, ...] = ()

    def with_value(self, key: str, value: Any, reason: str) -> Resolved:
        """The same with `section.field` set to `value`."""
        section_name, field = key.split(".")
        section: BaseModel = getattr(self.config, section_name)
        assert field in type(section).model_fields, f"{key} is no field of the configuration"
        checked = type(section).model_validate(section.model_dump() | {field: value})
        config = self.config.model_copy(update={section_name: checked})
        kept = tuple(each for each in self.derived if each.key != key)
        plain = checked.model_dump(mode="json")[field]
        return Resolved(config=config, derived=(*kept, Derived(key=key, value=plain, reason=reason)))

    def reason(self, key: str) -> str:
        """Why `key` has its value; empty for what was asked for."""
        return next((each.reason for each in self.derived if each.key == key), "")

    def to_dict(self) -> dict[str, Any]:
        """The content of resolved.json."""
        derived = [{"key": each.key, "value": each.value, "reason": each.reason} for each in self.derived]
        return {"config": self.config.model_dump(mode="json"), "derived": derived}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Resolved:
        """Back from `to_dict`."""
        return cls(config=Config.model_validate(raw["config"]), derived=tuple(Derived(**each) for each in raw["derived"]))

    def save(self, run_dir: Path) -> None:
        """Replace the run's resolved.json."""
        write_json(run_dir / FILE, self.to_dict())


def load_resolved(run_dir: Path) -> Resolved:
    """The resolved configuration of a run."""
    raw = read_json(run_dir / FILE)
    if raw is None:
        raise UsageError(f"{run_dir} holds no readable {FILE}", "it is no run folder; `tuitrain runs ls` lists those")
    return Resolved.from_dict(raw)
