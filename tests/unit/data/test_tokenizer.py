"""The tokenizer: lossless on anything, the same ids as Hugging Face's, special tokens never read out of a text."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain.data.bpe import EOS, train_bpe
from tuitrain.data.codec import load_huggingface
from tuitrain.data.cuts import PIECE_CHARS
from tuitrain.data.tokenizer import Tokenizer
from tuitrain.errors import DataError

TEXTS = [
    Path(argparse.__file__).read_text(encoding="utf-8"),
    "The quick brown fox doesn't jump over the lazy dogs, it walks. " * 30,
]


@pytest.fixture(scope="module")
def text():
    return train_bpe(TEXTS, 400)


@pytest.fixture(scope="module")
def tokenizer(text):
    return Tokenizer.from_json(text, name="small", eos=EOS)


def random_texts(count):
    rng = random.Random(7)
    ranges = ((9, 127), (0xA0, 0x3000), (0x3000, 0xD000), (0x1F300, 0x1F700), (0, 0x110000))
    for _ in range(count):
        chars = (chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(1, 60)))
        yield "".join(char for char in chars if not 0xD800 <= ord(char) < 0xE000)


def test_ids_are_laid_out_as_promised(tokenizer):
    assert (tokenizer.eos, tokenizer.eos_id, tokenizer.vocab_size) == (EOS, 0, 400)
    assert (tokenizer.backend, tokenizer.backend_reason[:8]) == ("tiktoken", "same ids")
    lengths = tokenizer.token_bytes()
    assert (lengths[0], lengths[1:257].tolist(), lengths.dtype) == (0, [1] * 256, np.int32)
    assert lengths[257:].min() >= 2


def test_learning_is_deterministic(text):
    assert train_bpe(list(TEXTS), 400) == text


def test_little_text_gives_a_smaller_vocabulary_than_asked_for():
    tokenizer = Tokenizer.from_json(train_bpe(["abab abab"], 5000), name="tiny", eos=EOS)
    assert 257 < tokenizer.vocab_size < 270
    assert tokenizer.decode(tokenizer.encode("anything \U0001f600")) == "anything \U0001f600"


def test_ids_equal_hugging_faces(text, tokenizer):
    reference = load_huggingface(text)
    for sample in [*TEXTS, *random_texts(3000)]:
        assert tokenizer.encode(sample) == reference.encode(sample).ids, repr(sample)


@given(text=st.text(max_size=200))
@settings(deadline=None, max_examples=300)
def test_any_text_comes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode("utf-8")
    assert int(tokenizer.token_bytes()[ids].sum()) == len(text.encode("utf-8"))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_batch_equals_its_texts_one_by_one(tokenizer, threads):
    texts = [*TEXTS, "", "x", "y " * 100_000, *random_texts(200)]
    for text, ids in zip(texts, tokenizer.encode_batch(texts, threads), strict=True):
        assert ids.tolist() == tokenizer.encode(text)
        assert ids.dtype == np.uint32


def test_special_tokens_in_a_text_are_text(tokenizer):
    ids = tokenizer.encode(f"a{EOS}b")
    assert tokenizer.eos_id not in ids
    assert tokenizer.decode(ids) == f"a{EOS}b"


def test_special_and_unknown_ids_stand_for_nothing(tokenizer):
    assert tokenizer.decode([tokenizer.eos_id, *tokenizer.encode("a"), tokenizer.vocab_size, 10**9, -1]) == "a"


def test_half_surrogates_are_replaced(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


def test_half_a_character_shows_as_a_replacement(tokenizer):
    ids = tokenizer.encode("\u4e2d")
    assert len(ids) == 3
    assert tokenizer.decode(ids[:2]) == "\ufffd"


@pytest.mark.parametrize("unit", ["a", " ", "\n", "1", "-", "\u4e2d", "ab1_", " \n", "\r"])
def test_a_megabyte_without_a_break_is_encoded_quickly_and_without_loss(tokenizer, unit):
    text = unit * (1_000_000 // len(unit.encode()))
    (ids,) = tokenizer.encode_batch([text], 2)
    assert tokenizer.decode_bytes(ids) == text.encode()


def test_cut_texts_have_the_ids_of_uncut_ones(text, tokenizer):
    sample = "\n".join(TEXTS)
    assert len(sample) > 3 * PIECE_CHARS
    assert tokenizer.encode(sample) == load_huggingface(text).encode(sample).ids


def test_saving_and_opening_keeps_everything(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        again = Tokenizer.from_file(path)
        assert again.content_hash == tokenizer.content_hash
        assert again.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
        assert (again.eos, again.eos_id) == (EOS, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}


def test_the_content_hash_sees_every_change(text, tokenizer):
    other = json.loads(text)
    other["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\s+|\S+"
    assert Tokenizer.from_json(json.dumps(other), name="x", eos=EOS).content_hash != tokenizer.content_hash
    assert Tokenizer.from_json(text, name="y", eos=EOS).content_hash == tokenizer.content_hash


def test_a_vocabulary_without_all_bytes_falls_back_and_says_why(text, tmp_path):
    data = json.loads(text)
    del data["model"]["vocab"]["\u0108"]  # byte 8
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = Tokenizer.from_file(tmp_path)
    assert tokenizer.backend == "tokenizers"
    assert "1 of the 256 bytes are missing (0x08" in tokenizer.backend_reason
    assert tokenizer.decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]
    assert tokenizer.eos_id not in tokenizer.encode(EOS)
    assert tokenizer.token_bytes()[0] == 0


def test_a_sentencepiece_like_vocabulary_falls_back_and_counts_bytes(tmp_path):
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    vocab = {"<unk>": 0, "</s>": 1, "<0x0A>": 2, "\u2581": 3, "a": 4, "b": 5, "\u2581a": 6}
    data = {
        "version": "1.0", "truncation": None, "padding": None, "post_processor": None,
        "added_tokens": [
            {"id": number, "content": token, "special": True} | dict.fromkeys(flags, False)
            for token, number in (("<unk>", 0), ("</s>", 1))
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": [["\u2581", "a"]]},
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = Tokenizer.from_file(tmp_path)
    assert (tokenizer.backend, tokenizer.eos, tokenizer.eos_id) == ("tokenizers", "</s>", 1)
    assert tokenizer.token_bytes().tolist() == [0, 0, 1, 1, 1, 1, 2]
    assert tokenizer.decode(tokenizer.encode("b a\nab")) == "b a\nab"


@pytest.mark.parametrize(
    ("content", "problem"), [("{", "is no tokenizer.json"), ("{}", "token ends a text"), ("[]", "is no tokenizer")]
)
def test_a_broken_tokenizer_file_is_an_error_with_a_hint(tmp_path, content, problem):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match=problem) as error:
        Tokenizer.from_file(tmp_path)
    assert error.value.hint


def test_a_missing_tokenizer_file_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(DataError, match=r"is no tokenizer\.json"):
        Tokenizer.from_file(tmp_path / "nowhere")


def test_a_json_that_is_no_tokenizer_is_an_error(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"content": "</s>"}], "model": {}}')
    with pytest.raises(DataError, match="not a tokenizer"):
        Tokenizer.from_file(tmp_path)


def test_the_end_token_comes_from_the_configuration_beside_it(text, tmp_path):
    data = json.loads(text)
    data["added_tokens"][0]["content"] = "<end>"
    data["model"]["vocab"] = {("<end>" if token == EOS else token): number for token, number in data["model"]["vocab"].items()}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match="token ends a text"):
        Tokenizer.from_file(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<end>"}}))
    assert Tokenizer.from_file(tmp_path).eos_id == 0
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<other>"}))
    with pytest.raises(DataError, match="no special token '<other>'"):
        Tokenizer.from_file(tmp_path)
