"""Shards: one stream over many files, document borders by search, damage detected."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuitrain.data.shard_writer import ShardWriter
from tuitrain.data.shards import CorruptShardsError, ShardSet, token_dtype, write_index

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(data=st.data(), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=12), shard_tokens=st.integers(1, 25))
@relaxed
def test_any_range_reads_as_from_one_array(make_shards, data, sizes, shard_tokens):
    texts = [[(7 * number + place) % 900 + 1 for place in range(size)] for number, size in enumerate(sizes)]
    shards = make_shards(texts, shard_tokens)
    stream = [token for ids in texts for token in [*ids, 0]]
    ends = np.cumsum([len(ids) + 1 for ids in texts])
    assert all(shard.tokens <= shard_tokens for shard in shards.shards)
    assert (shards.num_tokens, shards.num_documents, shards.num_bytes) == (len(stream), len(texts), 2 * sum(sizes))
    start = data.draw(st.integers(0, len(stream)))
    stop = data.draw(st.integers(start, len(stream)))
    assert shards.tokens(start, stop).tolist() == stream[start:stop]
    assert shards.document_ends(start, stop).tolist() == [end for end in ends if start < end <= stop]
    number = data.draw(st.integers(0, len(texts) - 1))
    assert shards.document_span(number) == (ends[number] - len(texts[number]) - 1, ends[number])


@pytest.mark.parametrize(("vocab_size", "name"), [(257, "<u2"), (65536, "<u2"), (65537, "<u4"), (200_019, "<u4")])
def test_ids_take_no_more_bytes_than_they_need(vocab_size, name):
    assert token_dtype(vocab_size).str == name


def test_large_ids_survive(tmp_path):
    writer = ShardWriter(tmp_path, piece=0, dtype=token_dtype(200_019), shard_tokens=10)
    writer.add(np.array([199_999, 65_536, 0], np.uint32), 5)
    write_index(tmp_path, writer.commit(), token_dtype(200_019))
    assert ShardSet.open(tmp_path).tokens(0, 3).tolist() == [199_999, 65_536, 0]


def test_more_shards_than_are_kept_open(make_shards):
    shards = make_shards([[number % 9 + 1] for number in range(300)], shard_tokens=2)
    assert len(shards.shards) == 300
    assert shards.tokens(0, 600)[::2].tolist() == [number % 9 + 1 for number in range(300)]
    assert shards.tokens(0, 2).tolist() == [1, 0]


def test_several_threads_may_read_at_once(make_shards):
    shards = make_shards([[number % 9 + 1] for number in range(400)], shard_tokens=2)

    def read(seed):
        for number in np.random.default_rng(seed).integers(0, 400, 500).tolist():
            assert shards.tokens(2 * number, 2 * number + 2).tolist() == [number % 9 + 1, 0]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(8)))


def test_nothing_is_visible_before_commit_and_nothing_left_after_abort(tmp_path):
    writer = ShardWriter(tmp_path, piece=0, dtype=token_dtype(300), shard_tokens=4)
    writer.add(np.arange(9, dtype=np.uint32), 1)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    writer.abort()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".tokens", ".documents"])
def test_a_truncated_shard_is_found_when_opening(make_shards, suffix):
    shards = make_shards([[1, 2, 3], [4, 5, 6]])
    path = shards.folder / (shards.shards[0].name + suffix)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptShardsError, match="bytes, not"):
        ShardSet.open(shards.folder)


def test_a_flipped_bit_is_found_when_asked_for(make_shards):
    shards = make_shards([[1, 2, 3], [4, 5, 6]])
    path = shards.folder / f"{shards.shards[0].name}.tokens"
    data = bytearray(path.read_bytes())
    data[2] ^= 1
    path.write_bytes(data)
    ShardSet.open(shards.folder)
    with pytest.raises(CorruptShardsError, match="content"):
        ShardSet.open(shards.folder, verify=True)


def test_a_missing_shard_or_index_is_found(make_shards, tmp_path):
    shards = make_shards([[1, 2, 3]])
    (shards.folder / f"{shards.shards[0].name}.tokens").unlink()
    with pytest.raises(CorruptShardsError, match="cannot be read"):
        ShardSet.open(shards.folder)
    with pytest.raises(CorruptShardsError, match=r"index\.json"):
        ShardSet.open(tmp_path)


@pytest.mark.parametrize("change", [{"version": 99}, {"shards": [{}]}, {"dtype": None}])
def test_an_index_of_another_kind_is_refused(make_shards, change):
    shards = make_shards([[1, 2, 3]])
    index = shards.folder / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | change))
    with pytest.raises(CorruptShardsError):
        ShardSet.open(shards.folder)


def test_the_content_hash_sees_tokens_and_borders(make_shards):
    hashes = {make_shards(texts).content_hash for texts in ([[1, 2], [3]], [[1], [2, 3]], [[1, 2], [4]])}
    assert len(hashes) == 3
    assert make_shards([[1, 2], [3]]).content_hash in hashes
