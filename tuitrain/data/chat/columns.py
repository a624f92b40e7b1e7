"""What each format of examples asks of a row, and the names under which rows usually keep it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuitrain.text import clean_line

TURN_KEYS: Final = {"messages": ("role", "content"), "sharegpt": ("from", "value")}
"""Where a turn keeps who speaks and what is said, by format."""

MISSING: Final = object()
"""What `lookup` finds where there is nothing; None is a value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One way to write examples, in slots: what a row must hold and what it may."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    prompted: bool = False
    """Whether a prompt goes with it: `prompt`, turns or a text to continue that meets no template; or `instruction`, a text
    that is a user's turn, with `input` and `system`."""

    @property
    def slots(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.required, *(("prompt", "instruction", "input") if self.prompted else ()), *self.optional)


FORMATS: Final = {
    "messages": Format(required=("messages",), optional=("role", "content", "system")),
    "sharegpt": Format(required=("messages",), optional=("role", "content", "system")),
    "alpaca": Format(required=("instruction", "output"), optional=("input", "system")),
    "prompt-completion": Format(required=("completion",), optional=("system",), prompted=True),
    "preference": Format(required=("chosen", "rejected"), optional=("system",), prompted=True),
    "judged": Format(required=("completion", "label"), optional=("system",), prompted=True),
}

NAMES: Final = {
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "chat"),
    "instruction": ("instruction", "question"),
    "input": ("input", "context"),
    "output": ("output", "response", "answer"),
    "system": ("system", "system_prompt"),
    "prompt": ("prompt", "input.messages"),
    "completion": ("completion",),
    "chosen": ("chosen", "preferred_output"),
    "rejected": ("rejected", "non_preferred_output"),
    "label": ("label",),
}
"""Where a slot is looked for, the format's own name first."""

_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}


def lookup(values: Mapping[str, Any], path: str) -> Any:
    """What is under a key, or under a path of keys joined by dots; MISSING if nothing is."""
    if path in values:
        return values[path]
    found: Any = values
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            return MISSING
        found = found[key]
    return found


def truth(value: object) -> bool | None:
    """A label as true or false: CSV writes words, pandas writes 1.0. None if it is neither."""
    if isinstance(value, str):
        return _TRUTHS.get(value.strip().lower())
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def fits(slot: str, value: object, format_name: str, columns: Mapping[str, str]) -> bool:
    """Whether a value looks like what the slot wants. Wrong content is found later, row by row; this tells formats apart."""
    match slot:
        case "messages":
            role, content = TURN_KEYS[format_name]
            wanted = (columns.get("role", role), columns.get("content", content))
            if isinstance(value, str):  # JSON in a column of text: which of the two is seen when it is read
                return value.lstrip().startswith("[") and f'"{wanted[0]}"' in value
            return isinstance(value, list) and any(isinstance(turn, dict) and set(wanted) <= set(turn) for turn in value)
        case "label":
            return truth(value) is not None
        case "prompt" | "completion" | "chosen" | "rejected":
            return isinstance(value, (str, list))
        case _:
            return isinstance(value, str)


def listed(keys: Iterable[object], most: int = 8) -> str:
    """The first of some keys, safe to print: they come from data."""
    return ", ".join(clean_line(str(key), 40) for key in list(keys)[:most]) or "none"


def described(value: object) -> str:
    """What a value is, in a word."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case list():
            return f"list of {{{listed(value[0], 4)}}}" if value and isinstance(value[0], dict) else "list"
        case dict():
            return "object"
        case _:
            return type(value).__name__
