"""Packing and loading: every token is a target once per epoch; any sequence is found from its number alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuitrain.data.batch import IGNORED, PADDING_DOCUMENT
from tuitrain.data.loader import Loader
from tuitrain.data.packing import Packing

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
documents = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=30), min_size=1, max_size=12)


def stream_of(texts):
    return [token for ids in texts for token in [*ids, 0]]


def targets_of(batch):
    return Counter(batch.targets[batch.targets != IGNORED].tolist())


@given(texts=documents, seq_len=st.integers(1, 40), seed=st.integers(0, 2**31), epoch=st.integers(0, 5), shuffle=st.booleans())
@relaxed
def test_in_every_epoch_every_token_is_a_target_exactly_once(make_prepared, texts, seq_len, seed, epoch, shuffle):
    loader = Loader(make_prepared({"a": (1.0, texts, [[1]])}), seq_len, seed, shuffle)
    windows = -(-len(stream_of(texts)) // seq_len)
    batch = loader.batch(epoch * windows, windows)
    assert targets_of(batch) == Counter(stream_of(texts))
    assert batch.num_targets == len(stream_of(texts))
    assert batch.num_bytes == 2 * sum(map(len, texts))


@given(texts=documents, seq_len=st.integers(1, 40), seed=st.integers(0, 2**31))
@relaxed
def test_targets_follow_their_inputs_in_the_circular_stream(make_prepared, texts, seq_len, seed):
    # Every token is made unique, so that a pair of neighbours names its place in the stream.
    numbered, number = [], 0
    for ids in texts:
        numbered.append(list(range(number + 1, number + 1 + len(ids))))
        number += len(ids)
    stream = stream_of(numbered)
    neighbours = Counter(zip(stream, stream[1:] + stream[:1], strict=True))
    loader = Loader(make_prepared({"a": (1.0, numbered, [[1]])}), seq_len, seed)
    batch = loader.batch(0, -(-len(stream) // seq_len))
    valid = batch.targets != IGNORED
    assert Counter(zip(batch.tokens[valid].tolist(), batch.targets[valid].tolist(), strict=True)) == neighbours
    assert (batch.tokens[:, 1:] == batch.targets[:, :-1])[valid[:, 1:]].all()


@given(texts=documents, seq_len=st.integers(1, 40), seed=st.integers(0, 2**31), shuffle=st.booleans())
@relaxed
def test_isolated_documents_never_predict_from_another_document(make_prepared, texts, seq_len, seed, shuffle):
    prepared = make_prepared({"a": (1.0, texts, [[1]])})
    plain = Loader(prepared, seq_len, seed, shuffle)
    isolated = Loader(prepared, seq_len, seed, shuffle, isolate_documents=True)
    windows = -(-len(stream_of(texts)) // seq_len)
    batch, whole = isolated.batch(0, windows), plain.batch(0, windows)
    assert np.array_equal(batch.tokens, whole.tokens)
    # The first token of each document is the only one that is no target.
    assert targets_of(batch) == Counter(stream_of(texts)) - Counter(ids[0] for ids in texts)
    padding = whole.targets == IGNORED
    assert ((batch.targets == IGNORED) == (padding | (batch.tokens == 0))).all()
    for row in range(windows):
        document, position = 0, 0
        for place in range(seq_len):
            if padding[row, place]:
                assert batch.document_ids[row, place] == PADDING_DOCUMENT
                continue
            assert (batch.document_ids[row, place], batch.position_ids[row, place]) == (document, position)
            ends = batch.tokens[row, place] == 0
            document, position = (document + 1, 0) if ends else (document, position + 1)


@given(
    first=st.integers(0, 10**6),
    count=st.integers(1, 20),
    seq_len=st.integers(1, 16),
    isolate=st.booleans(),
    world=st.integers(1, 5),
)
@relaxed
def test_a_sequence_depends_on_its_number_alone(make_prepared, first, count, seq_len, isolate, world):
    prepared = make_prepared({"a": (0.7, [[1, 2, 3], [4, 5]], [[1]]), "b": (0.3, [[6, 7, 8, 9]], [[1]])})
    whole = Loader(prepared, seq_len, 5, isolate_documents=isolate).batch(first, count)
    other = Loader(prepared, seq_len, 5, isolate_documents=isolate)
    other.batch(3, 11)  # whatever was read before
    for rank in range(world):
        numbers = np.arange(first + rank, first + count, world)
        part = other.rows(numbers)
        assert np.array_equal(part.tokens, whole.tokens[rank::world])
        assert np.array_equal(part.targets, whole.targets[rank::world])
        if isolate:
            assert np.array_equal(part.document_ids, whole.document_ids[rank::world])
            assert np.array_equal(part.position_ids, whole.position_ids[rank::world])


def test_epochs_move_the_borders_and_the_order(make_prepared):
    loader = Loader(make_prepared({"a": (1.0, [list(range(1, 200))], [[1]])}), 10, 1)
    epochs = [loader.batch(epoch * 20, 20) for epoch in range(6)]
    assert len({batch.tokens.tobytes() for batch in epochs}) == 6
    borders = [{int(row[0]) % 10 for row in batch.tokens} for batch in epochs]
    assert len(set(map(frozenset, borders))) > 1, "windows begin at the same places in every epoch"


def test_without_shuffling_the_stream_is_read_in_file_order(make_prepared):
    loader = Loader(make_prepared({"a": (1.0, [[1, 2, 3], [4, 5]], [[1]])}), 3, 1, shuffle=False)
    batch = loader.batch(0, 3)
    assert batch.tokens.tolist() == [[0, 1, 2], [3, 0, 4], [5, 0, 0]]
    assert batch.targets.tolist() == [[1, 2, 3], [0, 4, 5], [0, IGNORED, IGNORED]]


def test_seeds_give_different_orders(make_prepared):
    prepared = make_prepared({"a": (1.0, [list(range(1, 100))], [[1]])})
    assert len({Loader(prepared, 5, seed).batch(0, 20).tokens.tobytes() for seed in range(10)}) == 10


def test_each_source_runs_through_its_own_epochs(make_prepared):
    sources = {"a": (3.0, [[1] * 7], [[1]]), "b": (1.0, [[2] * 15], [[1]])}
    loader = Loader(make_prepared(sources), 4, 9)
    # a: 8 tokens, 2 windows; b: 16 tokens, 4 windows. After 16 sequences: 12 of a are 6 epochs, 4 of b are one.
    targets = targets_of(loader.batch(0, 16))
    assert targets == Counter({1: 42, 2: 15, 0: 6 + 1})
    assert loader.epochs_by_source(16) == [6.0, 1.0]
    assert loader.epoch_of(16) == pytest.approx((6 * 8 + 1 * 16) / 24)
    assert loader.epoch_of(0) == 0


def test_epoch_of_a_single_source_is_fractional(make_prepared):
    loader = Loader(make_prepared({"a": (1.0, [[1] * 39], [[1]])}), 4, 9)
    assert [loader.epoch_of(sequence) for sequence in (0, 5, 10, 25)] == [0, 0.5, 1.0, 2.5]


def test_a_stream_shorter_than_a_sequence_is_padded(make_prepared):
    loader = Loader(make_prepared({"a": (1.0, [[5]], [[1]])}), 8, 1)
    batch = loader.batch(0, 2)
    assert (batch.num_targets, batch.num_bytes) == (4, 4)
    assert (batch.tokens[:, 2:] == 0).all()


def test_windows_do_not_depend_on_how_tokens_are_spread_over_shards(make_shards):
    texts = [[1, 2, 3, 4, 5], [6], [7, 8, 9]]
    spans = []
    for shard_tokens in (1, 3, 100):
        packing = Packing(make_shards(texts, shard_tokens), seq_len=4, key=1, shuffle=True)
        spans.append([packing.shards.tokens(0, packing.num_tokens).tolist(), packing.shards.document_ends(0, 12).tolist()])
    assert spans[0] == spans[1] == spans[2] == [[1, 2, 3, 4, 5, 0, 6, 0, 7, 8, 9, 0], [6, 8, 12]]
