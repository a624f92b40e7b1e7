"""Config -> TOML, so that what was asked for can be kept, read and run again. Only what differs from the defaults is
written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuitrain.config.schema import Config


def to_toml(config: Config, *, comment: str = "") -> str:
    """The explicitly set fields of a configuration as a TOML document."""
    tree = config.model_dump(exclude_unset=True)
    lines = [f"# {line}" for line in comment.splitlines()]
    for name, section in tree.items():
        plain = {key: value for key, value in section.items() if not _is_table_array(value)}
        tables = {key: value for key, value in section.items() if _is_table_array(value)}
        if plain or not tables:
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_value(value)}" for key, value in plain.items() if value is not None]
        for key, rows in tables.items():
            for row in rows:
                lines += ["", f"[[{name}.{key}]]"]
                lines += [f"{inner} = {_value(value)}" for inner, value in row.items() if value is not None]
    return "\n".join(lines).strip() + "\n"


def _is_table_array(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, dict) for each in value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, Path)):
        # JSON's escapes are TOML's, except that TOML has no surrogate pairs: keep characters as they are.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return repr(value)
