"""What fine-tuning learns from: conversations, and pairs of answers one of which is better. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ROLES: Final = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn."""

    role: str
    """One of ROLES."""
    content: str

    def to_dict(self) -> dict[str, str]:
        """As chat templates and the engine want it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A conversation to learn from: every assistant turn is trained, nothing else.

    `raw` examples are a prompt and its completion without roles: two messages, user and assistant, that meet no template.
    """

    messages: tuple[Message, ...]
    where: str
    """`file:line` it came from."""
    raw: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """Two answers to one prompt, the first preferred. Either may be several turns long."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    where: str
    raw: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """An answer that was liked or not, without a rival: what KTO learns from."""

    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    liked: bool
    where: str
    raw: bool = False


Item = Example | Preference | Judged
