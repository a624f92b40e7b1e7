"""Validation: every held-out token once, in file order, with the exact bytes."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuitrain.data.batch import IGNORED
from tuitrain.data.validation import ValidationSet, validation_batches

documents = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=30), min_size=1, max_size=8)


@given(first=documents, second=documents, seq_len=st.integers(1, 40), batch=st.integers(1, 7))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_token_is_counted_once_with_its_bytes(make_prepared, first, second, seq_len, batch):
    prepared = make_prepared({"a": (1.0, [[1]], first), "b": (5.0, [[1]], second)})
    batches = list(validation_batches(prepared, seq_len, batch))
    targets = np.concatenate([each.targets.ravel() for each in batches])
    stream = [token for ids in [*first, *second] for token in [*ids, 0]]
    assert targets[targets != IGNORED].tolist() == stream
    assert sum(each.num_targets for each in batches) == len(stream) == prepared.validation_tokens
    assert sum(each.num_bytes for each in batches) == 2 * sum(map(len, [*first, *second]))


def test_a_limit_reads_every_source_evenly_spread(make_prepared):
    prepared = make_prepared({"a": (1.0, [[1]], [[1] * 399]), "b": (1.0, [[1]], [[2] * 99])})
    batches = list(validation_batches(prepared, 10, 4, max_tokens=100))
    targets = Counter(np.concatenate([each.targets.ravel() for each in batches]).tolist())
    assert (targets[1], targets[2]) == (80, 20)
    assert ValidationSet(prepared, 10).sequences(100).tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]


def test_all_batches_have_one_shape(make_prepared):
    prepared = make_prepared({"a": (1.0, [[1]], [[1] * 99])})
    batches = list(validation_batches(prepared, 10, 4))
    assert [each.tokens.shape for each in batches] == [(4, 10)] * 3
    assert [each.num_targets for each in batches] == [40, 40, 20]


def test_a_tiny_limit_still_reads_one_sequence_of_each_source(make_prepared):
    prepared = make_prepared({"a": (1.0, [[1]], [[1] * 99]), "b": (1.0, [[1]], [[2] * 99])})
    assert sum(each.num_targets for each in validation_batches(prepared, 10, 4, max_tokens=1)) == 20


def test_ranks_share_the_sequences(make_prepared):
    validation = ValidationSet(make_prepared({"a": (1.0, [[1]], [[1, 2, 3, 4, 5, 6, 7]])}), 3)
    numbers = validation.sequences()
    parts = [validation.rows(numbers[rank::2]) for rank in range(2)]
    assert sum(part.num_targets for part in parts) == 8
    assert np.array_equal(parts[1].targets[0], validation.rows(numbers).targets[1])


def test_isolation_leaves_out_the_first_token_of_each_document(make_prepared):
    prepared = make_prepared({"a": (1.0, [[1]], [[1, 2], [3, 4]])})
    (batch,) = validation_batches(prepared, 6, 4, isolate_documents=True)
    assert batch.tokens.tolist() == [[0, 1, 2, 0, 3, 4]]
    assert batch.targets.tolist() == [[IGNORED, 2, 0, IGNORED, 4, 0]]
    assert batch.document_ids.tolist() == [[0, 1, 1, 1, 2, 2]]
    assert batch.position_ids.tolist() == [[0, 0, 1, 2, 0, 1]]
    assert batch.num_bytes == 4
