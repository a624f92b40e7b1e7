"""From a list of turns, as OpenAI or ShareGPT write it, to messages; and what makes them a conversation to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tuitrain.data.chat.columns import TURN_KEYS, listed
from tuitrain.data.chat.examples import Message
from tuitrain.data.records import BadRow, text_record

_NAMES: Final = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "bot", "chatbot", "model", "ai", "chatgpt", "function_call"),
    "tool": ("tool", "function", "observation", "ipython", "tool_response", "function_response"),
}
ROLE_OF: Final = {name: role for role, names in _NAMES.items() for name in names}
"""The role behind each name in use. ShareGPT's `function_call` is the assistant speaking, its `observation` the tool."""

_FOLLOWS: Final = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}


class RowProblem(Exception):  # noqa: N818 - it never leaves the reading of a row
    """Why a row is no example: `kind` is one of records.KINDS."""

    def __init__(self, kind: str, problem: str) -> None:
        super().__init__(problem)
        self.kind, self.problem = kind, problem


def text_of(value: object, what: str) -> str:
    """A text that is not empty."""
    record = text_record(value, where="", index=0, what=what)
    if isinstance(record, BadRow):
        raise RowProblem(record.kind, record.problem)
    return record.text


def answer_of(value: object, what: str) -> str:
    """A text of the assistant: there is something to learn in it."""
    if isinstance(value, str) and not value.strip():
        raise RowProblem("empty-answer", f"{what} is empty")
    return text_of(value, what)


def turns_of(value: object, what: str, keys: tuple[str, str] | None = None) -> tuple[Message, ...]:
    """Messages of a list of turns. `keys` are where a turn keeps its role and content, when it is neither of TURN_KEYS."""
    if value is None:
        raise RowProblem("null", f"{what} is null")
    if not isinstance(value, list):
        raise RowProblem("type", f"{what} is of type {type(value).__name__}, not a list of turns")
    if not value:
        raise RowProblem("empty", f"{what} has no turns")
    turns = [_turn(turn, f"{what}[{number}]", keys) for number, turn in enumerate(value)]
    if not (kept := tuple(turn for turn in turns if turn.content or turn.role != "system")):
        raise RowProblem("empty", f"{what} has no turn but an empty system prompt")
    return kept


def _turn(turn: object, what: str, keys: tuple[str, str] | None) -> Message:
    if not isinstance(turn, dict):
        raise RowProblem("type", f"{what} is of type {type(turn).__name__}, not an object")
    role_key, content_key = keys or next((pair for pair in TURN_KEYS.values() if pair[0] in turn), TURN_KEYS["messages"])
    for key in (role_key, content_key):
        if key not in turn and not (key == content_key and turn.get("tool_calls")):
            raise RowProblem("key", f"no key {key!r} in {what} (keys: {listed(turn)})")
    name = text_of(turn[role_key], f"{what}.{role_key}")
    role = ROLE_OF.get(name.strip().lower().replace("-", "_"))
    if role is None:
        raise RowProblem("role", f"{what}.{role_key} is {name[:40]!r} (known: {', '.join(ROLE_OF)})")
    if turn.get("tool_calls") or turn.get("function_call"):
        raise RowProblem("unsupported", f"{what} calls a tool outside its text; write the call into the text")
    if role == "assistant" and turn.get("weight") == 0:
        raise RowProblem("unsupported", f"{what} has the weight 0; every turn of the assistant is learnt from")
    place = f"{what}.{content_key}"
    content = _joined(turn[content_key], place)
    if role == "assistant":
        return Message(role=role, content=answer_of(content, place))
    if content == "" and role != "user":  # no system prompt, or a tool that had nothing to say
        return Message(role=role, content="")
    return Message(role=role, content=text_of(content, place))


def _joined(content: object, what: str) -> object:
    """Content that comes in parts as one text."""
    if not isinstance(content, list):
        return content
    return "".join(_part(part, f"{what}[{number}]") for number, part in enumerate(content))


def _part(part: Any, what: str) -> str:
    if isinstance(part, dict):
        kind = part.get("type", "text")
        if kind not in ("text", "input_text", "output_text"):
            raise RowProblem("unsupported", f"{what} is of the kind {str(kind)[:40]!r}; only text is learnt from")
        part = part.get("text")
    return part if part == "" else text_of(part, what)


def check_conversation(messages: Sequence[Message]) -> None:
    """A system turn or none, then user and assistant by turns, who has the last word; tools speak between its turns."""
    if not any(message.role == "assistant" for message in messages):
        raise RowProblem("no-answer", f"none of the {len(messages)} turns is the assistant's")
    last = ""
    for number, message in enumerate(messages):
        if message.role not in _FOLLOWS[last]:
            place = f"follows {last}" if last else "comes first"
            raise RowProblem("order", f"turn {number} ({message.role}) {place}; expected: {' or '.join(_FOLLOWS[last])}")
        last = message.role
    if last != "assistant":
        raise RowProblem("unanswered", f"the last turn is of the role {last}; the assistant does not answer it")
