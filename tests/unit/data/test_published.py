"""Published vocabularies by name: the same ids in tokenizer.json, and a clear error where they cannot be had."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import tiktoken

from tuitrain.data import published
from tuitrain.data.bpe import EOS, train_bpe
from tuitrain.data.codec import build_codec
from tuitrain.data.published import PATTERNS, published_tokenizer
from tuitrain.data.tokenizer import Tokenizer
from tuitrain.errors import EnvironmentError_, UsageError

POSSESSIVE = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
"""cl100k_base's own pattern."""


@pytest.fixture
def cl100k(monkeypatch):
    """A stand-in for cl100k_base: its pattern, few merges, a gap before the special tokens."""
    _, vocabulary = build_codec(
        train_bpe(["the vocabulary was learnt with a pattern that parts lines from spaces 12345 " * 9], 350)
    )
    assert len(vocabulary.ranks) < 398
    special = {EOS: 400, "<|endofprompt|>": 407}
    encoding = tiktoken.Encoding("cl100k_base", pat_str=POSSESSIVE, mergeable_ranks=vocabulary.ranks, special_tokens=special)
    monkeypatch.setattr(tiktoken, "get_encoding", {"cl100k_base": encoding}.__getitem__)
    return encoding


def test_a_published_vocabulary_saves_as_a_tokenizer_json_with_the_same_ids(cl100k, tmp_path):
    tokenizer = published_tokenizer("cl100k_base")
    assert (tokenizer.name, tokenizer.eos_id, tokenizer.vocab_size, tokenizer.backend) == ("cl100k_base", 400, 408, "tiktoken")
    assert tokenizer.token_bytes()[[0, 398, 399, 400, 407]].tolist() == [0, 0, 0, 0, 0]
    tokenizer.save(tmp_path)
    again = Tokenizer.from_file(tmp_path)
    assert (again.content_hash, again.eos_id, again.backend) == (tokenizer.content_hash, 400, "tiktoken")
    for text in ("DON'T 12345\r\n\r\n   x", "a" * 40_000, "\n \n\t x  "):
        assert again.encode(text) == tokenizer.encode(text)


def test_a_tokenizer_json_that_would_differ_is_not_written(cl100k, tmp_path, monkeypatch):
    monkeypatch.setitem(PATTERNS, "cl100k_base", r"\s+|\S+")
    with pytest.raises(EnvironmentError_, match="otherwise than tiktoken") as error:
        published_tokenizer("cl100k_base").save(tmp_path)
    assert error.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failure", [OSError("no route"), ValueError("hash mismatch")])
def test_without_network_the_error_says_what_to_do(monkeypatch, failure):
    def fail(name):
        raise failure

    monkeypatch.setattr(tiktoken, "get_encoding", fail)
    with pytest.raises(EnvironmentError_, match="cannot be fetched") as error:
        published_tokenizer("o200k_base")
    assert "TIKTOKEN_CACHE_DIR" in error.value.hint
    assert 'kind = "train"' in error.value.hint


def test_the_network_is_not_waited_for_for_ever(monkeypatch):
    limits = []

    def look(name):
        limits.append(socket.getdefaulttimeout())
        raise OSError("no route")

    monkeypatch.setattr(tiktoken, "get_encoding", look)
    with pytest.raises(EnvironmentError_):
        published_tokenizer("gpt2")
    assert limits == [published._TIMEOUT_S] * 2
    assert socket.getdefaulttimeout() is None


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="no published encoding 'gpt5'") as error:
        published_tokenizer("gpt5")
    assert "cl100k_base" in error.value.hint


@pytest.mark.skipif("TIKTOKEN_CACHE_DIR" not in os.environ, reason="needs TIKTOKEN_CACHE_DIR with the published vocabularies")
@pytest.mark.parametrize("name", PATTERNS)
def test_the_genuine_vocabularies_save_with_the_same_ids(name, tmp_path):
    tokenizer = published_tokenizer(name)
    tokenizer.save(tmp_path)
    again = Tokenizer.from_file(tmp_path)
    assert (again.content_hash, again.eos_id) == (tokenizer.content_hash, tokenizer.eos_id)
    text = Path(__file__).read_text(encoding="utf-8")
    assert again.encode(text) == tokenizer.encode(text)
