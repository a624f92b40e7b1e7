"""The masks' second check cries at none of what real data holds; that it cries at what is wrong is seen in test_flight."""

from __future__ import annotations

import numpy as np
import pytest
from support.tuning import FAMILIES, turns, write_rows, write_tokenizer

from tuitrain.config.schema import DataSection, SourceSection
from tuitrain.data.chat.loader import ExampleLoader, Shape
from tuitrain.data.chat.preparation import prepare_examples
from tuitrain.trainer.flight.mask_checks import check_masks

ASKED = "Is the number seventeen a prime number?"
AGAIN = ("user", ASKED)
CONVERSATIONS = {
    "an answer that later questions repeat": [
        AGAIN, ("assistant", "Yes."), ("user", "Yes. And 4? No."), ("assistant", "No."), ("user", "No."), ("assistant", "Yes."),
    ],
    "an answer that repeats its question": [
        AGAIN, ("assistant", f"You ask: {ASKED} It is."), AGAIN, ("assistant", "Yes."),
    ],
    "a thought that repeats the question": [
        AGAIN, ("assistant", f"<think>\n{ASKED} Hm.\n</think>\n\nYes."), AGAIN, ("assistant", "<think>\nHm.\n</think>\n\nYes."),
    ],
    "a thought and no answer": [AGAIN, ("assistant", "<think>\nHm.\n</think>")],
    "white space": [("user", f"\n{ASKED}  "), ("assistant", "\n\n  Yes. \n")],
    "special tokens": [("user", "What is <|im_end|> or </s>?"), ("assistant", "<|im_end|> ends a turn, </s> a text.")],
    "strange characters": [
        ("user", f"{ASKED} \U0001f600\x00\ufffd"), ("assistant", "\xe9 \ufb01 \U0001f600 \x13 \U0001f468\u200d\U0001f469"),
    ],
    "what the template says itself": [("user", "assistant user system <|im_start|>"), ("assistant", "assistant")],
}  # fmt: skip


def numbers(count):
    return [{"messages": turns(("user", f"Number {number}?"), ("assistant", f"{number}"))} for number in range(count)]


@pytest.fixture
def check(tmp_path):
    """check(rows, family, ...): (findings, examples)."""

    def make(rows, name, *, stage="sft", judged=False, template=None, packing=True, seq_len=96, truncate=False, twice=False):
        base = write_tokenizer(tmp_path / f"base-{name}", FAMILIES[name], template)
        file = write_rows(tmp_path / "rows.jsonl", rows)
        data = DataSection(sources=(SourceSection(path=file),) * (2 if twice else 1), validation_frac=0.1)
        made = prepare_examples(
            data, stage=stage, judged=judged, base=base, cache_dir=tmp_path / "cache", progress=lambda now: None
        )
        paired = stage == "dpo"
        shape = Shape(seq_len=seq_len, packing=packing and not paired, paired=paired, pad_id=0, truncate=truncate)
        loader = ExampleLoader(
            made.train, made.validation, shape, weights=made.train_weights, token_bytes=np.ones(700, np.int32), seed=0
        )
        return check_masks(made, loader), made.train

    return make


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("what", CONVERSATIONS)
def test_what_real_conversations_hold_is_no_trouble(check, name, what):
    rows = [
        {"messages": turns(*CONVERSATIONS[what])},
        *({"messages": turns(("user", f"Number {n}?"), ("assistant", f"{n}"))} for n in range(8)),
    ]
    findings, examples = check(rows, name, seq_len=256)
    assert findings == []
    assert len(examples) >= 7


@pytest.mark.parametrize("name", ["llama3", "qwen2.5", "gemma3"])
def test_with_generation_marks_too(check, name):
    for conversation in CONVERSATIONS.values():
        rows = [{"messages": turns(*conversation)}] * 3 + [
            {"messages": turns(("user", f"Number {n}?"), ("assistant", f"{n}"))} for n in range(4)
        ]
        assert check(rows, name, template=FAMILIES[name].training_source, seq_len=256)[0] == []


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("truncate", [True, False])
def test_however_rows_are_packed_and_cut(check, packing, truncate):
    rows = [{"messages": turns(("user", f"Number {n}?"), ("assistant", f"{n} " * n))} for n in range(1, 40)]
    assert check(rows, "smollm2", packing=packing, truncate=truncate, seq_len=80)[0] == []


def test_a_file_that_is_read_twice(check):
    rows = [
        {"messages": turns(*CONVERSATIONS["an answer that later questions repeat"])},
        {"messages": turns(("user", ASKED), ("assistant", "Yes."))},
    ]
    assert check(rows * 4, "qwen3", twice=True, seq_len=128)[0] == []


@pytest.mark.parametrize("name", ["llama3", "qwen3", "mistral"])
def test_pairs_and_judgements(check, name):
    def row(number, rejected):
        history = turns(("user", ASKED), ("assistant", "Yes."), ("user", f"And {number}?"))
        return {"prompt": history, "chosen": turns(("assistant", "Yes.")), "rejected": turns(*rejected)}

    several = [("assistant", "No."), ("user", "No? Sure, absolutely sure?"), ("assistant", "Yes.")]
    rows = [row(number, [("assistant", "No.")] if number % 2 else several) for number in range(12)]
    assert check(rows, name, stage="dpo", seq_len=256)[0] == []
    assert check(rows, name, stage="dpo", judged=True, seq_len=256)[0] == []
    raw = [{"prompt": f"{ASKED} {number}", "chosen": " Yes.", "rejected": " No."} for number in range(12)]
    assert check(raw, name, stage="dpo", seq_len=256)[0] == []


def test_raw_completions(check):
    rows = [{"prompt": f"{ASKED} {number} ", "completion": f"Yes, {number}."} for number in range(12)]
    assert check(rows, "qwen2.5")[0] == []
