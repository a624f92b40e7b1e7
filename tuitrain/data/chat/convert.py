"""A row of a known format as an example, a pair of answers or a judged answer - or the reason why it is none.

A prompt and a completion that are both plain text are `raw`: one continues the other, without roles or a system prompt. Every
turn of the assistant is learnt from, also those inside a prompt that is a list of turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from tuitrain.data.chat.columns import described, truth
from tuitrain.data.chat.examples import Example, Item, Judged, Message, Preference
from tuitrain.data.chat.fields import Fields, Turns
from tuitrain.data.chat.formats import Detection
from tuitrain.data.chat.rows import Row
from tuitrain.data.chat.turns import RowProblem, answer_of, check_conversation, turns_of
from tuitrain.data.records import BadRow


def convert(row: Row, detection: Detection, system_prompt: str | None = None) -> Item | BadRow:
    """The item of a row. `system_prompt` goes before conversations that have no system turn."""
    try:
        return _BUILDERS[detection.format](Fields(row.values, detection, system_prompt), row.where)
    except RowProblem as found:
        return BadRow(where=row.where, kind=found.kind, problem=found.problem, index=row.index)


def _conversation(fields: Fields, where: str) -> Example:
    value, path = fields.get("messages")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowProblem("syntax", f"{path} is a text that is not JSON ({error})") from error
    messages = fields.with_system(turns_of(value, path, fields.turn_keys()))
    check_conversation(messages)
    return Example(messages=messages, where=where)


def _instruction(fields: Fields, where: str) -> Example:
    answer = Message(role="assistant", content=answer_of(*fields.get("output")))
    return Example(messages=(*fields.with_system(fields.instruction()), answer), where=where)


def _completion(fields: Fields, where: str) -> Example:
    prompt, completion, raw = _prompt_and_completion(fields)
    return Example(messages=prompt + completion, where=where, raw=raw)


def _judged(fields: Fields, where: str) -> Judged:
    prompt, completion, raw = _prompt_and_completion(fields)
    value, path = fields.get("label")
    if (liked := truth(value)) is None:
        shown = repr(value)[:40] if isinstance(value, (str, float)) else described(value)
        raise RowProblem("null" if value is None else "type", f"{path} is {shown}, neither true nor false")
    return Judged(prompt=prompt, completion=completion, liked=liked, where=where, raw=raw)


def _prompt_and_completion(fields: Fields) -> tuple[Turns, Turns, bool]:
    prompt, prompt_is_text = fields.prompt()
    completion, is_text = fields.answer("completion")
    if prompt_is_text and is_text:
        return prompt, completion, True
    if completion[0].role != "assistant":
        raise RowProblem("order", f"the completion begins with a turn of the role {completion[0].role}")
    prompt = fields.with_system(prompt)
    check_conversation(prompt + completion)
    return prompt, completion, False


def _preference(fields: Fields, where: str) -> Preference:
    chosen, chosen_is_text = fields.answer("chosen")
    rejected, rejected_is_text = fields.answer("rejected")
    if chosen == rejected:
        raise RowProblem("identical", "the chosen and the rejected answer are the same")
    if chosen[0].role == "assistant":
        prompt, prompt_is_text = fields.prompt()
        raw = prompt_is_text and chosen_is_text and rejected_is_text
    else:  # both lists hold the conversation from its beginning, whatever stands in a column for the prompt
        for turns in (chosen, rejected):
            check_conversation(turns)
        prompt, chosen, rejected = _parted(chosen, rejected)
        raw = False
    if not raw:
        prompt = fields.with_system(prompt)
        for answer in (chosen, rejected):
            check_conversation(prompt + answer)
    return Preference(prompt=prompt, chosen=chosen, rejected=rejected, where=where, raw=raw)


def _parted(chosen: Turns, rejected: Turns) -> tuple[Turns, Turns, Turns]:
    """The turns both begin with, up to an answer, and what follows them in each."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    while shared and not all(turns[shared:] and turns[shared].role == "assistant" for turns in (chosen, rejected)):
        shared -= 1
    if not shared:
        raise RowProblem("order", "the chosen and the rejected turns do not begin with the same prompt")
    return chosen[:shared], chosen[shared:], rejected[shared:]


_BUILDERS: dict[str, Callable[[Fields, str], Item]] = {
    "messages": _conversation,
    "sharegpt": _conversation,
    "alpaca": _instruction,
    "prompt-completion": _completion,
    "preference": _preference,
    "judged": _judged,
}
