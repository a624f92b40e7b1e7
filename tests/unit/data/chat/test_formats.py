"""Finding the format of rows: every usual shape by itself, and shown; what is ambiguous or unknown is an error with a hint."""

from __future__ import annotations

import pytest

from tuitrain.data.chat.formats import detect
from tuitrain.errors import DataError

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SHARED = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
OTHER = [*TURNS[:1], {"role": "assistant", "content": "c"}]

FOUND = {
    "openai": ({"messages": TURNS}, "messages", {"messages": "messages"}),
    "openai-renamed": ({"conversations": TURNS, "id": 1}, "messages", {"messages": "conversations"}),
    "openai-json-text": ({"messages": '[{"role": "user", "content": "a"}]'}, "messages", {"messages": "messages"}),
    "sharegpt": ({"conversations": SHARED}, "sharegpt", {"messages": "conversations"}),
    "sharegpt-system": (
        {"conversations": SHARED, "system": "be kind"},
        "sharegpt",
        {"messages": "conversations", "system": "system"},
    ),
    "alpaca": (
        {"instruction": "a", "input": "", "output": "b", "text": "all"},
        "alpaca",
        {"instruction": "instruction", "output": "output", "input": "input"},
    ),
    "dolly": (
        {"instruction": "a", "context": "c", "response": "b", "category": "qa"},
        "alpaca",
        {"instruction": "instruction", "output": "response", "input": "context"},
    ),
    "question-answer": ({"question": "a", "answer": "b"}, "alpaca", {"instruction": "question", "output": "answer"}),
    "raw": ({"prompt": "a", "completion": "b"}, "prompt-completion", {"prompt": "prompt", "completion": "completion"}),
    "raw-with-another-label": (
        {"prompt": "a", "completion": "b", "label": "sports"},
        "prompt-completion",
        {"prompt": "prompt", "completion": "completion"},
    ),
    "prompt-beside-system": (
        {"prompt": "a", "completion": "b", "system": "be kind"},
        "prompt-completion",
        {"instruction": "prompt", "completion": "completion", "system": "system"},
    ),
    "turns-in-two-parts": (
        {"prompt": TURNS[:1], "completion": TURNS[1:]},
        "prompt-completion",
        {"prompt": "prompt", "completion": "completion"},
    ),
    "preference": (
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        "preference",
        {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    ),
    "preference-implicit": ({"chosen": TURNS, "rejected": OTHER}, "preference", {"chosen": "chosen", "rejected": "rejected"}),
    "preference-orca": (
        {"system": "", "question": "a", "chosen": "b", "rejected": "c"},
        "preference",
        {"instruction": "question", "chosen": "chosen", "rejected": "rejected", "system": "system"},
    ),
    "preference-openai": (
        {"input": {"messages": TURNS[:1], "tools": []}, "preferred_output": TURNS[1:], "non_preferred_output": OTHER[1:]},
        "preference",
        {"prompt": "input.messages", "chosen": "preferred_output", "rejected": "non_preferred_output"},
    ),
    "judged": (
        {"prompt": "a", "completion": "b", "label": True},
        "judged",
        {"prompt": "prompt", "completion": "completion", "label": "label"},
    ),
    "judged-csv": (
        {"prompt": "a", "completion": "b", "label": "False"},
        "judged",
        {"prompt": "prompt", "completion": "completion", "label": "label"},
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_usual_shapes_are_found_by_themselves(case):
    row, kind, columns = FOUND[case]
    found = detect([row] * 3, name="x")
    assert (found.format, found.columns, found.matched, found.looked_at) == (kind, columns, 3, 3)


def test_what_was_found_is_shown_with_what_is_not_read():
    found = detect([{"id": 1, "question": "a", "answer": "b", "source\x1b[2J": "web"}], name="x")
    assert found.show() == "alpaca (1 of 1 rows): instruction = question, output = answer; not read: id, source"
    asked = detect([{"messages": TURNS}], name="x", asked="messages")
    assert asked.show() == "messages, as configured (1 of 1 rows): messages"
    assert asked.to_dict()["columns"] == {"messages": "messages"}


def test_columns_lead_to_where_things_are():
    row = {"q": "a", "reply": {"text": "b", "by": "me"}, "meta.id": 3}
    found = detect([row], name="x", columns={"instruction": "q", "output": "reply.text"})
    assert (found.format, found.unused) == ("alpaca", ("meta.id",))
    found = detect([row], name="x", columns={"prompt": "q", "completion": "reply.text"})
    assert found.format == "prompt-completion"
    turns = [{"speaker": "user", "text": "a"}, {"speaker": "assistant", "text": "b"}]
    found = detect([{"talk": turns}], name="x", columns={"messages": "talk", "role": "speaker", "content": "text"})
    assert (found.format, found.columns["role"]) == ("messages", "speaker")


def test_a_format_that_is_asked_for_settles_what_is_ambiguous():
    row = {"messages": TURNS, "chosen": TURNS, "rejected": OTHER, "prompt": "a"}
    with pytest.raises(DataError, match=r"data/x: the rows can be read as messages and as preference .*chosen: list") as error:
        detect([row], name="data/x")
    assert error.value.hint == 'say which: data.sources.N.format = "messages" or "preference"'
    assert detect([row], name="x", asked="preference").format == "preference"


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"title": "a", "body": 1}, {}, "hold title: text, body: int; their format is not known"),
        ({}, {}, "hold none"),
        ({"chosen": "a", "rejected": "b"}, {}, "format is not known"),  # where does the prompt end?
        ({"prompt": "a", "response": "b"}, {}, "format is not known"),  # continued, or answered?
        ({"messages": TURNS}, {"asked": "alpaca"}, r"messages: list of \{role, content\}; they are not in the format alpaca"),
        ({"messages": TURNS}, {"asked": "sharegpt"}, "not in the format sharegpt"),
        ({"prompt": "a", "completion": "b"}, {"columns": {"completion": "answer"}}, "format is not known"),
        ({"q": "a"}, {"columns": {"prompt": "q", "instruction": "q"}}, "both prompt and instruction"),
        ({"q": "a"}, {"columns": {"messages": "q", "label": "q"}}, "no format has the columns messages, label together"),
        ({"q": "a"}, {"columns": {"text": "q"}, "asked": "alpaca"}, "the format alpaca has not all of text"),
        ({"messages": [1, 2]}, {}, "messages: list"),
    ],
)
def test_what_cannot_be_told_is_an_error_that_names_the_keys(row, options, message):
    with pytest.raises(DataError, match=message) as error:
        detect([row], name="x", **options)
    assert "data.sources.N" in error.value.hint or "keep one" in error.value.hint


def test_most_rows_decide_and_null_columns_tell_nothing():
    rows = [{"messages": None, "prompt": "a", "completion": "b"}] * 6 + [
        {"messages": TURNS, "prompt": None, "completion": None}
    ] * 4
    found = detect(rows, name="x")
    assert (found.format, found.matched, found.unused) == ("prompt-completion", 6, ("messages",))
    assert detect([{"prompt": "a", "completion": None}], name="x").format == "prompt-completion"


def test_a_column_that_is_still_null_may_be_filled_later():
    found = detect([{"instruction": "a", "output": "b", "system": None, "input": {"not": "text"}}], name="x")
    assert found.columns["system"] == "system"
    assert found.unused == ("input",)
