"""Rows to items: what each format gives, and every reason why a row is none, by kind."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain.data.chat.columns import FORMATS
from tuitrain.data.chat.convert import convert
from tuitrain.data.chat.examples import Example, Judged, Preference
from tuitrain.data.chat.formats import Detection, detect
from tuitrain.data.chat.rows import Row
from tuitrain.data.records import KINDS, BadRow
from tuitrain.errors import DataError


def said(*turns):
    """("user", "a"), ... as OpenAI writes it."""
    return [{"role": role, "content": content} for role, content in turns]


def heard(messages):
    return [(message.role, message.content) for message in messages]


def read(values, system_prompt=None, like=None, **options):
    """The item of a row, in the format of a row `like` it (or its own)."""
    detection = detect([like or values], name="x", **options)
    return convert(Row(values=values, where="x:7", index=7), detection, system_prompt)


GOOD = said(("user", "q"), ("assistant", "a"))
ONE = {"messages": GOOD}


def test_openai_turns_may_come_in_parts_and_under_newer_names():
    parts = [{"type": "text", "text": "two "}, {"type": "text", "text": "parts"}]
    example = read({"messages": said(("developer", "s"), ("user", parts), ("assistant", "a"))})
    assert heard(example.messages) == [("system", "s"), ("user", "two parts"), ("assistant", "a")]
    assert (example.where, example.raw) == ("x:7", False)


def test_sharegpt_with_tools_and_a_system_column():
    turns = [("human", "q"), ("function_call", "{}"), ("observation", "r"), ("GPT", "a")]
    row = {"system": "s", "conversations": [{"from": who, "value": what} for who, what in turns]}
    assert heard(read(row).messages) == [
        ("system", "s"), ("user", "q"), ("assistant", "{}"), ("tool", "r"), ("assistant", "a"),
    ]  # fmt: skip


def test_turns_as_json_text_are_read():
    assert heard(read({"messages": json.dumps(GOOD)}).messages) == [("user", "q"), ("assistant", "a")]
    assert read({"messages": '[{"role": "user"'}).kind == "syntax"


def test_turns_under_keys_of_their_own():
    turns = [{"who": "human", "value": "q"}, {"who": "gpt", "value": "a"}]
    assert heard(read({"conversations": turns}, columns={"role": "who"}).messages) == [("user", "q"), ("assistant", "a")]
    turns = [{"who": "user", "said": "q"}, {"who": "assistant", "said": "a"}]
    columns = {"messages": "log.turns", "role": "who", "content": "said"}
    assert len(read({"log": {"turns": turns}}, columns=columns).messages) == 2


def test_alpaca_joins_instruction_and_input():
    assert heard(read({"instruction": "i", "input": "more", "output": "o"}).messages) == [
        ("user", "i\n\nmore"),
        ("assistant", "o"),
    ]
    assert heard(read({"instruction": "i", "input": None, "output": "o"}).messages)[0] == ("user", "i")
    assert heard(read({"instruction": "i", "input": " ", "output": "o"}).messages)[0] == ("user", "i")


def test_optional_columns_are_read_where_the_first_rows_have_none():
    example = read(
        {"instruction": "i", "input": "more", "system": "s", "output": "o"}, like={"instruction": "i", "output": "o"}
    )
    assert heard(example.messages)[:2] == [("system", "s"), ("user", "i\n\nmore")]
    twice = read({"input": "i", "output": "o"}, columns={"instruction": "input"})
    assert heard(twice.messages)[0] == ("user", "i")


def test_prompt_and_completion_are_raw_as_text_and_chat_as_turns():
    raw = read({"prompt": "p", "completion": " c"}, system_prompt="s")
    assert (raw.raw, heard(raw.messages)) == (True, [("user", "p"), ("assistant", " c")])
    chat = read({"prompt": GOOD[:1], "completion": GOOD[1:]}, system_prompt="s")
    assert (chat.raw, heard(chat.messages)) == (False, [("system", "s"), ("user", "q"), ("assistant", "a")])
    answered = read({"prompt": "p", "completion": "c"}, columns={"instruction": "prompt"})
    assert (answered.raw, heard(answered.messages)) == (False, [("user", "p"), ("assistant", "c")])
    beside_system = read({"prompt": "p", "completion": "c", "system": "s"}, like={"prompt": "p", "completion": "c"})
    assert (beside_system.raw, len(beside_system.messages)) == (False, 3)


def test_the_system_prompt_goes_only_where_there_is_none():
    assert heard(read(ONE, system_prompt="s").messages)[0] == ("system", "s")
    own = read({"messages": said(("system", "own")) + GOOD}, system_prompt="s")
    assert heard(own.messages)[:2] == [("system", "own"), ("user", "q")]
    empty = read({"messages": said(("system", "")) + GOOD}, system_prompt="s")
    assert heard(empty.messages)[0] == ("system", "s")


A, B = said(("assistant", "good")), said(("assistant", "bad"))
MORE = said(("user", "and?"), ("assistant", "more"))
PREFERENCES = {
    "text": ({"prompt": "q", "chosen": "good", "rejected": "bad"}, True, 1, 1),
    "instruction": ({"question": "q", "chosen": "good", "rejected": "bad"}, False, 1, 1),
    "turns": ({"prompt": GOOD[:1], "chosen": A, "rejected": B}, False, 1, 1),
    "text-and-turns": ({"prompt": "q", "chosen": A, "rejected": B}, False, 1, 1),
    "turns-and-text": ({"prompt": GOOD[:1], "chosen": "good", "rejected": "bad"}, False, 1, 1),
    "implicit": ({"chosen": GOOD[:1] + A, "rejected": GOOD[:1] + B}, False, 1, 1),
    "whole-beside-a-prompt": ({"prompt": "q", "chosen": GOOD[:1] + A, "rejected": GOOD[:1] + B}, False, 1, 1),
    "later-turn": ({"chosen": GOOD + MORE[:1] + A, "rejected": GOOD + MORE[:1] + B}, False, 3, 1),
    "several-turns": ({"chosen": GOOD[:1] + A + MORE, "rejected": GOOD[:1] + B}, False, 1, 3),
    "one-goes-on": ({"chosen": GOOD + MORE, "rejected": GOOD}, False, 1, 3),
    "differ-in-a-question": ({"chosen": GOOD + MORE, "rejected": GOOD + said(("user", "or?")) + A}, False, 1, 3),
}


@pytest.mark.parametrize("case", PREFERENCES)
def test_preferences_in_every_form(case):
    row, raw, prompt_turns, chosen_turns = PREFERENCES[case]
    found = read(row)
    assert isinstance(found, Preference)
    assert (found.raw, len(found.prompt), len(found.chosen)) == (raw, prompt_turns, chosen_turns)
    assert found.prompt[0].content == "q"
    assert found.chosen[0].role == found.rejected[0].role == "assistant"
    assert found.chosen != found.rejected


@pytest.mark.parametrize(
    ("label", "liked"), [(True, True), (False, False), (1, True), (0.0, False), ("TRUE", True), ("0", False)]
)
def test_judged_answers(label, liked):
    found = read({"prompt": "q", "completion": "a", "label": label})
    assert isinstance(found, Judged)
    assert (found.liked, found.raw) == (liked, True)
    chat = read({"prompt": GOOD[:1], "completion": GOOD[1:], "label": label}, system_prompt="s")
    assert (chat.raw, len(chat.prompt), len(chat.completion)) == (False, 2, 1)


JUDGED, PAIR = {"prompt": "q", "completion": "a", "label": True}, {"chosen": GOOD[:1] + A, "rejected": GOOD[:1] + B}
ALPACA, RAW = {"instruction": "i", "output": "o"}, {"prompt": "p", "completion": "c"}
SHARED = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
BAD = [
    (ONE, {"messages": said(("user", "q"), ("assistant", None))}, "null", r"messages\[1\].content is null"),
    (ONE, {"messages": said(("user", None), ("assistant", "a"))}, "null", r"messages\[0\].content is null"),
    (ONE, {"messages": None}, "null", "messages is null"),
    (ONE, {"messages": []}, "empty", "has no turns"),
    (ONE, {"messages": said(("system", ""))}, "empty", "no turn but an empty system prompt"),
    (ONE, {"messages": said(("user", ""), ("assistant", "a"))}, "empty", r"messages\[0\].content is empty"),
    (ONE, {"messages": said(("user", "q"), ("assistant", " \n"))}, "empty-answer", r"messages\[1\].content is empty"),
    (ONE, {"messages": said(("user", "q"), ("narrator", "a"))}, "role", "'narrator'"),
    (ONE, {"messages": said(("user", "q"), (3, "a"))}, "type", r"messages\[1\].role is of type int"),
    (ONE, {"messages": said(("user", "q"))}, "no-answer", "none of the 1 turns"),
    (ONE, {"messages": said(("user", "q"), ("user", "r"), ("assistant", "a"))}, "order", r"turn 1 \(user\) follows user"),
    (ONE, {"messages": said(("assistant", "a"), ("user", "q"), ("assistant", "b"))}, "order", "comes first"),
    (ONE, {"messages": GOOD + said(("system", "s"), ("user", "q"), ("assistant", "b"))}, "order", r"turn 2 \(system\)"),
    (ONE, {"messages": GOOD + said(("assistant", "b"))}, "order", "follows assistant"),
    (ONE, {"messages": GOOD + said(("user", "thanks"))}, "unanswered", "the role user"),
    (ONE, {"messages": GOOD + said(("tool", "r"))}, "unanswered", "the role tool"),
    (ONE, {"messages": {"role": "user"}}, "type", "of type dict"),
    (ONE, {"messages": ["q", "a"]}, "type", r"messages\[0\] is of type str"),
    (ONE, {"messages": said(("user", float("nan")), ("assistant", "a"))}, "type", "of type float"),
    (ONE, {"messages": said(("user", {"text": "q"}), ("assistant", "a"))}, "type", "of type dict"),
    (ONE, {"messages": said(("user", "half \ud800"), ("assistant", "a"))}, "encoding", "surrogate"),
    (ONE, {"messages": said(("user", [{"type": "image_url"}]), ("assistant", "a"))}, "unsupported", "image_url"),
    (ONE, {"messages": said(("user", [{"type": "text", "text": None}]), ("assistant", "a"))}, "null", r"content\[0\]"),
    (ONE, {"messages": [GOOD[0], {"role": "assistant", "content": None, "tool_calls": [{}]}]}, "unsupported", "calls a tool"),
    (ONE, {"messages": [GOOD[0], {"role": "assistant", "tool_calls": [{}]}]}, "unsupported", "calls a tool"),
    (ONE, {"messages": [GOOD[0], {"role": "assistant", "content": "a", "weight": 0}]}, "unsupported", "weight 0"),
    (ONE, {"messages": [{"content": "q"}]}, "key", r"no key 'role' in messages\[0\] \(keys: content\)"),
    (ONE, {"other": 1}, "key", r"no key 'messages' \(keys: other\)"),
    (SHARED, {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": ""}]}, "empty-answer", "value is"),
    (SHARED, {"conversations": [{"from": "gpt", "value": "a"}]}, "order", "comes first"),
    (ALPACA, {"instruction": "", "output": "o"}, "empty", "instruction is empty"),
    (ALPACA, {"instruction": "i", "output": ""}, "empty-answer", "output is empty"),
    (ALPACA, {"instruction": "i", "output": None}, "null", "output is null"),
    (ALPACA, {"instruction": "i", "output": ["o"]}, "type", "output is of type list"),
    (ALPACA, {"instruction": "i", "input": 3, "output": "o"}, "type", "input is of type int"),
    (RAW, {"prompt": "", "completion": "c"}, "empty", "prompt is empty"),
    (RAW, {"prompt": "p", "completion": "\n"}, "empty-answer", "completion is empty"),
    (RAW, {"prompt": "p", "completion": None}, "null", "completion is null"),
    (RAW, {"prompt": GOOD, "completion": MORE}, "order", "the completion begins with a turn of the role user"),
    (PAIR, {"chosen": GOOD, "rejected": GOOD}, "identical", "the same"),
    (PAIR, {"chosen": GOOD, "rejected": said(("user", "other"), ("assistant", "a"))}, "order", "same prompt"),
    (PAIR, {"chosen": GOOD, "rejected": A}, "order", "comes first"),
    (PAIR, {"chosen": A, "rejected": B}, "order", "comes first"),
    (PAIR, {"chosen": said(("system", "")), "rejected": B}, "empty", "no turn but"),
    (PAIR, {"chosen": None, "rejected": B}, "null", "chosen is null"),
    (PAIR, {"chosen": GOOD, "rejected": GOOD[:1]}, "no-answer", "none of the 1 turns"),
    (PAIR, {"chosen": GOOD, "rejected": GOOD + MORE[:1]}, "unanswered", "the role user"),
    (JUDGED, {**JUDGED, "label": None}, "null", "label is null"),
    (JUDGED, {**JUDGED, "label": "maybe"}, "type", "label is 'maybe', neither"),
    (JUDGED, {**JUDGED, "label": float("nan")}, "type", "nan"),
    (JUDGED, {**JUDGED, "label": {"deep": []}}, "type", "object"),
    (JUDGED, {**JUDGED, "label": 10**5000}, "type", "int"),
]  # fmt: skip


@pytest.mark.parametrize(("like", "row", "kind", "problem"), BAD, ids=[f"{number}-{bad[2]}" for number, bad in enumerate(BAD)])
def test_every_bad_row_is_named(like, row, kind, problem):
    found = read(row, like=like)
    assert isinstance(found, BadRow), found
    assert (found.where, found.index, found.kind) == ("x:7", 7, kind)
    assert re.search(problem, found.problem), found.problem
    assert kind in KINDS


def test_keys_from_data_are_safe_to_print():
    found = read({"evil\x1b[2J\ud800": 1}, like=ONE)
    assert found.problem.isprintable()
    found.problem.encode()


def test_one_row_gives_one_example():
    assert isinstance(read(ONE), Example)


SLOTS = sorted({slot for form in FORMATS.values() for slot in form.slots} | {"from", "value"})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["user", "assistant", "gpt"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SLOTS), inner, max_size=3)
)


@settings(max_examples=300, deadline=None)
@given(
    values=st.dictionaries(st.sampled_from(SLOTS), VALUES, max_size=6),
    kind=st.sampled_from(sorted(FORMATS)),
    asked=st.booleans(),
)
def test_whatever_a_row_holds_it_is_an_item_or_a_named_bad_row(values, kind, asked):
    slots = FORMATS[kind].required + (("prompt",) if FORMATS[kind].prompted else ())
    detection = Detection(format=kind, columns={slot: slot for slot in slots}, matched=1, looked_at=1)
    found = convert(Row(values=values, where="x:1", index=1), detection, "s")
    assert not isinstance(found, BadRow) or found.kind in KINDS
    with suppress(DataError):
        detect([values], name="x", asked=kind if asked else "auto")
