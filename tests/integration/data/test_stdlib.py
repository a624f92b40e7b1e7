"""The embedded corpus, whole: one vocabulary that tiktoken, tokenizers and transformers read alike."""

from __future__ import annotations

import json
import random

import pytest

from tuitrain.config.schema import DataSection, TokenizerSection
from tuitrain.data import Tokenizer, prepare
from tuitrain.data.codec import load_huggingface


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return prepare(
        DataSection(), TokenizerSection(), vocab_size=4096, cache_dir=cache, threads=2, progress=lambda message: None
    )


@pytest.fixture(scope="module")
def saved(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    prepared.tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def megabyte(prepared):
    """A megabyte of the corpus, and thousands of random texts."""
    tokens = prepared.sources[0].train.tokens(0, 400_000)
    text = prepared.tokenizer.decode(tokens)
    assert len(text) > 1_000_000
    rng = random.Random(11)
    ranges = ((9, 127), (0xA0, 0x3000), (0x3000, 0xD000), (0x1F300, 0x1F700), (0, 0x110000))
    texts = [text[:1_000_000]]
    for _ in range(5000):
        chars = (chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(1, 60)))
        texts.append("".join(char for char in chars if not 0xD800 <= ord(char) < 0xE000))
    return texts


def test_the_corpus_is_compressed_as_the_pattern_promises(prepared):
    assert prepared.tokenizer.backend == "tiktoken"
    assert prepared.tokenizer.vocab_size == 4096
    assert prepared.report.total == 0
    assert 3.3 < prepared.bytes_per_token < 3.9
    assert prepared.validation_documents >= 10


def test_tokenizers_gives_the_same_ids(prepared, saved, megabyte):
    reference = load_huggingface((saved / "tokenizer.json").read_text())
    for text, ids in zip(megabyte, prepared.tokenizer.encode_batch(megabyte, 2), strict=True):
        assert reference.encode(text).ids == ids.tolist(), repr(text[:60])
        assert prepared.tokenizer.decode(ids) == text


@pytest.mark.parametrize("model_type", [None, "llama", "qwen3", "nanochat"])
def test_transformers_gives_the_same_ids_beside_any_model(prepared, saved, megabyte, model_type):
    transformers = pytest.importorskip("transformers")
    config = saved / "config.json"
    config.unlink(missing_ok=True)
    if model_type:
        config.write_text(json.dumps({"model_type": model_type}))
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == (prepared.tokenizer.eos, prepared.tokenizer.eos_id)
    assert len(tokenizer) == prepared.tokenizer.vocab_size
    for text in (megabyte[0][:100_000], *megabyte[1:1000]):
        ids = prepared.tokenizer.encode(text)
        assert tokenizer(text)["input_ids"] == ids, repr(text[:60])
        assert tokenizer.decode(ids) == text


def test_the_saved_folder_opens_as_the_same_tokenizer(prepared, saved):
    assert Tokenizer.from_file(saved).content_hash == prepared.tokenizer.content_hash
