"""tokenizer.json and tiktoken ranks: what can be expressed is the same, what cannot says why."""

from __future__ import annotations

import copy
import json
import textwrap
from pathlib import Path

import pytest
import tiktoken

from tuitrain.data.bpe import PATTERN, train_bpe
from tuitrain.data.codec import build_codec, check_identity, load_huggingface, panics_as_errors
from tuitrain.data.vocabulary import (
    BYTE_OF_CHAR,
    GPT2_PATTERN,
    InexpressibleError,
    bytes_to_token,
    from_json,
    to_json,
    token_to_bytes,
)
from tuitrain.errors import DataError


@pytest.fixture(scope="module")
def data():
    return json.loads(train_bpe([Path(textwrap.__file__).read_text(encoding="utf-8")], 330))


def test_the_alphabet_is_gpt2s(data):
    assert len(BYTE_OF_CHAR) == 256
    assert bytes_to_token(b" \n\x00a\xff") == "\u0120\u010a\u0100a\u00ff"
    assert token_to_bytes(bytes_to_token(bytes(range(256)))) == bytes(range(256))
    assert token_to_bytes("\u4e2d") is None
    assert set(BYTE_OF_CHAR) <= set(data["model"]["vocab"])


def test_a_learnt_vocabulary_is_expressible(data):
    vocabulary = from_json(data)
    assert (vocabulary.pattern, vocabulary.special) == (PATTERN, {"<|endoftext|>": 0})
    assert len(vocabulary.ranks) == 329


CHANGES = [
    ("its model is Unigram", lambda data: data["model"].update(type="Unigram")),
    ("sets dropout", lambda data: data["model"].update(dropout=0.1)),
    ("sets byte_fallback", lambda data: data["model"].update(byte_fallback=True)),
    ("normalises", lambda data: data.update(normalizer={"type": "NFC"})),
    ("is not special", lambda data: data["added_tokens"].append({"id": 400, "content": "  ", "special": False})),
    ("is not byte-level", lambda data: data["model"]["vocab"].update({"\u4e2d": 400})),
    ("pre-tokenizer", lambda data: data.update(pre_tokenizer=None)),
    (
        "pre-tokenizer",
        lambda data: data.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}),
    ),
    ("in the order of the ids", lambda data: data["model"]["merges"].reverse()),
    ("in the order of the ids", lambda data: data["model"]["merges"].insert(1, data["model"]["merges"][0])),
    ("need a merge", lambda data: data["model"]["merges"].pop()),
]


@pytest.mark.parametrize(
    ("reason", "change"), CHANGES, ids=[f"{reason}-{number}" for number, (reason, _) in enumerate(CHANGES)]
)
def test_what_tiktoken_cannot_express_says_why(data, reason, change):
    changed = copy.deepcopy(data)
    change(changed)
    with pytest.raises(InexpressibleError, match=reason):
        from_json(changed)


def test_gpt2s_pre_tokenizer_is_known(data):
    changed = data | {
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    }
    assert from_json(changed).pattern == GPT2_PATTERN
    codec, _ = build_codec(json.dumps(changed))
    assert codec.backend == "tiktoken"


def test_going_to_ranks_and_back_gives_the_same_merges(data):
    vocabulary = from_json(data)
    again = to_json(vocabulary, pattern=PATTERN)
    assert again["model"]["merges"] == data["model"]["merges"]
    assert again["model"]["vocab"] == data["model"]["vocab"]
    assert build_codec(json.dumps(again))[1] == vocabulary


def test_special_tokens_behind_a_gap_keep_their_ids(data):
    vocabulary = from_json(data)
    moved = type(vocabulary)(pattern=PATTERN, ranks=vocabulary.ranks, special={"<|endoftext|>": 500})
    assert load_huggingface(json.dumps(to_json(moved, pattern=PATTERN))).token_to_id("<|endoftext|>") == 500


def test_a_pattern_the_engines_read_differently_is_noticed(data):
    vocabulary = from_json(data)
    other = tiktoken.Encoding("x", pat_str=GPT2_PATTERN, mergeable_ranks=vocabulary.ranks, special_tokens=vocabulary.special)
    with pytest.raises(InexpressibleError, match="differ"):
        check_identity(other, load_huggingface(json.dumps(data)), vocabulary.special)


def test_a_pattern_tiktoken_rejects_falls_back(data):
    changed = copy.deepcopy(data)
    changed["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"(?~\n\n)|\s+"  # an absent group: Oniguruma's own
    codec, vocabulary = build_codec(json.dumps(changed))
    assert vocabulary is None
    assert codec.backend == "tokenizers"
    assert "tiktoken" in codec.reason


def test_panics_become_errors():
    encoding = tiktoken.Encoding("x", pat_str=r"\S+", mergeable_ranks={b"a": 0, b"b": 1}, special_tokens={})
    with pytest.raises(DataError, match="broke off") as error, panics_as_errors():
        encoding.encode_ordinary("abc")
    assert error.value.hint


def test_other_exceptions_pass():
    with pytest.raises(KeyboardInterrupt), panics_as_errors():
        raise KeyboardInterrupt
