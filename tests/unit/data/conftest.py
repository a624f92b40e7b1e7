"""Small shards and stand-ins, so that packing and loading are tested without a tokenizer."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest

from tuitrain.data.prepared import PreparedData, PreparedSource
from tuitrain.data.report import BadRowReport
from tuitrain.data.shard_writer import ShardWriter
from tuitrain.data.shards import ShardSet, token_dtype, write_index

EOS_ID = 0


@pytest.fixture(autouse=True, scope="module")
def no_sync():
    """Thousands of tiny shards: what they hold is tested here, not that they survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


@pytest.fixture
def make_shards(tmp_path_factory):
    """make_shards(documents, shard_tokens): a ShardSet; each document is a list of ids and gets the end token 0."""

    def make(documents, shard_tokens=7, vocab_size=1000):
        folder = tmp_path_factory.mktemp("shards")
        dtype = token_dtype(vocab_size)
        writer = ShardWriter(folder, piece=0, dtype=dtype, shard_tokens=shard_tokens)
        for ids in documents:
            writer.add(np.array([*ids, EOS_ID], np.uint32), num_bytes=2 * len(ids))
        write_index(folder, writer.commit(), dtype)
        return ShardSet.open(folder, verify=True)

    return make


@pytest.fixture
def make_prepared(make_shards):
    """make_prepared({name: (weight, training documents, validation documents)}): PreparedData; each id stands for 2 bytes."""

    def make(sources, vocab_size=1000):
        token_bytes = np.full(vocab_size, 2, np.int32)
        token_bytes[EOS_ID] = 0
        tokenizer = SimpleNamespace(eos_id=EOS_ID, vocab_size=vocab_size, content_hash="none", token_bytes=lambda: token_bytes)
        prepared = []
        for name, (weight, train, validation) in sources.items():
            prepared.append(
                PreparedSource(
                    name=name, weight=weight, train=make_shards(train), validation=make_shards(validation),
                    report=BadRowReport(), content_hash=name,
                )
            )  # fmt: skip
        return PreparedData(tokenizer=tokenizer, sources=tuple(prepared))

    return make
