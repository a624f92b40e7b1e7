"""What the slots of a format hold in one row: texts and turns, or the reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuitrain.data.chat.columns import MISSING, TURN_KEYS, listed, lookup
from tuitrain.data.chat.examples import Message
from tuitrain.data.chat.formats import Detection
from tuitrain.data.chat.turns import RowProblem, answer_of, text_of, turns_of

Turns = tuple[Message, ...]


class Fields:
    """One row, asked by slots."""

    def __init__(self, values: Mapping[str, Any], detection: Detection, system_prompt: str | None) -> None:
        self._values, self._detection, self._system_prompt = values, detection, system_prompt
        self.columns = detection.columns

    def get(self, slot: str) -> tuple[Any, str]:
        """The value and the name of its column."""
        path = self.columns[slot]
        if (value := lookup(self._values, path)) is MISSING:
            raise RowProblem("key", f"no key {path!r} (keys: {listed(self._values)})")
        return value, path

    def turn_keys(self) -> tuple[str, str] | None:
        """Where a turn keeps its role and content, where the configuration says so; else each turn is looked at."""
        role, content = TURN_KEYS[self._detection.format]
        found = (self.columns.get("role", role), self.columns.get("content", content))
        return found if {"role", "content"} & set(self.columns) else None

    def optional(self, slot: str) -> str:
        """A text that may be missing. One that no row looked at had is still found under the slot's own name."""
        path = self.columns.get(slot, slot)
        value = lookup(self._values, path)
        if value is None or value is MISSING or value == "" or (slot not in self.columns and slot in self._detection.seen):
            return ""
        return text_of(value, path)

    def with_system(self, turns: Turns) -> Turns:
        """The turns after the row's system text, or the configured one."""
        system = "" if turns and turns[0].role == "system" else self.optional("system") or self._system_prompt
        return (Message(role="system", content=system), *turns) if system else turns

    def instruction(self) -> Turns:
        """The user's turn, of an instruction and its input."""
        text, more = text_of(*self.get("instruction")), self.optional("input")
        return (Message(role="user", content=f"{text}\n\n{more}" if more.strip() else text),)

    def prompt(self) -> tuple[Turns, bool]:
        """The prompt, and whether it is plain text to continue: a text beside a system text is a user's turn."""
        if "prompt" not in self.columns:
            return (self.instruction() if "instruction" in self.columns else ()), False
        value, path = self.get("prompt")
        if isinstance(value, list):
            return turns_of(value, path), False
        return (Message(role="user", content=text_of(value, path)),), not self.optional("system")

    def answer(self, slot: str) -> tuple[Turns, bool]:
        """An answer, and whether it is plain text."""
        value, path = self.get(slot)
        if isinstance(value, list):
            return turns_of(value, path), False
        return (Message(role="assistant", content=answer_of(value, path)),), True
