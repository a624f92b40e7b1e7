"""Preparing: what goes in comes out, the cache is reused exactly when it may be, and every failure says what to do."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest

from tuitrain.config.schema import DataSection, SourceSection, TokenizerSection
from tuitrain.data import Loader, Tokenizer, validation_batches


def documents(prepared, shards):
    """Texts of a ShardSet."""
    texts = []
    for number in range(shards.num_documents):
        ids = shards.tokens(*shards.document_span(number))
        assert ids[-1] == prepared.tokenizer.eos_id
        assert prepared.tokenizer.eos_id not in ids[:-1]
        texts.append(prepared.tokenizer.decode(ids))
    return texts


def phases(messages):
    return [message.phase for message in messages]


def test_every_readable_document_is_there_once_on_one_side(corpus, tmp_path, tools):
    prepared = tools.run(corpus, tmp_path / "cache", threads=2)
    rows, folder, _ = prepared.sources
    assert rows.report.by_kind == {"syntax": 1, "null": 1, "key": 1}
    assert [row.where.rpartition(":")[2] for row in rows.report.named] == ["8", "201", "400"]
    assert folder.report.by_kind == {"empty": 1}
    assert prepared.report.total == 4
    path = corpus.sources[1].path
    expected = [file.read_text() for file in sorted(path.rglob("*.txt"), key=lambda file: file.relative_to(path).as_posix())]
    train, validation = documents(prepared, folder.train), documents(prepared, folder.validation)
    assert sorted(train + validation) == sorted(filter(None, expected))
    assert train == [text for text in expected if text and text in train], "the order of the files"
    for source, count in zip(prepared.sources, (397, 120, 150), strict=True):
        assert source.train.num_documents + source.validation.num_documents == count
        assert 0.02 < source.validation.num_documents / count < 0.2
    assert prepared.train_bytes == sum(
        len(text.encode()) for source in prepared.sources for text in documents(prepared, source.train)
    )
    assert prepared.bytes_per_token == pytest.approx(
        (prepared.train_bytes + prepared.validation_bytes) / (prepared.train_tokens + prepared.validation_tokens)
    )
    assert len(rows.train.shards) > 3, "several shards, so that the tests below see borders"


def test_the_report_of_bad_rows_is_kept_as_json(corpus, tmp_path, tools):
    tools.run(corpus, tmp_path / "cache")
    reports = [json.loads(path.read_text()) for path in (tmp_path / "cache" / "tokens").glob("*/report.json")]
    assert sorted(report["total"] for report in reports) == [0, 1, 3]
    named = [row for report in reports for row in report["named"]]
    assert f"{corpus.sources[0].path}:8" in {row["where"] for row in named}


def test_the_second_time_nothing_is_done_again(corpus, tmp_path, tools, monkeypatch):
    first = tools.run(corpus, tmp_path / "cache")
    before = tools.tree(tmp_path / "cache")
    monkeypatch.setattr(Tokenizer, "encode_batch", lambda *_: pytest.fail("tokenised again"))
    messages = []
    second = tools.run(corpus, tmp_path / "cache", progress=messages.append)
    assert second.content_hash == first.content_hash
    assert tools.tree(tmp_path / "cache") == before
    assert not {"tokenizer", "tokenize", "wait"} & set(phases(messages))
    assert phases(messages)[-1] == "done"


def test_the_number_of_threads_changes_nothing(corpus, tmp_path, tools):
    for threads in (1, 3):
        tools.run(corpus, tmp_path / str(threads), threads=threads)
    assert tools.tree(tmp_path / "1") == tools.tree(tmp_path / "3")


def test_other_weights_reuse_every_token_and_change_the_content_hash(corpus, tmp_path, tools):
    first = tools.run(corpus, tmp_path / "cache")
    before = tools.tree(tmp_path / "cache")
    other = corpus.model_copy(
        update={
            "sources": tuple(source.model_copy(update={"weight": 3.0 + number}) for number, source in enumerate(corpus.sources))
        }
    )
    messages = []
    second = tools.run(other, tmp_path / "cache", progress=messages.append)
    assert tools.tree(tmp_path / "cache") == before
    assert "tokenize" not in phases(messages)
    assert (second.weights, first.weights) == ((3.0, 4.0, 5.0), (2.0, 1.0, 1.0))
    assert second.content_hash != first.content_hash


def test_the_cache_follows_content_not_place_or_time(corpus, tmp_path, tools):
    tools.run(corpus, tmp_path / "cache")
    before = tools.tree(tmp_path / "cache")
    moved = tmp_path / "moved"
    corpus.sources[0].path.parent.rename(moved)
    os.utime(moved / "folder" / "000.txt", (2 * 10**9, 2 * 10**9))
    sources = tuple(source.model_copy(update={"path": moved / source.path.name}) for source in corpus.sources)
    tools.run(corpus.model_copy(update={"sources": sources}), tmp_path / "cache")
    assert tools.tree(tmp_path / "cache") == before


def test_a_changed_file_is_prepared_anew(corpus, tmp_path, tools):
    first = tools.run(corpus, tmp_path / "cache")
    (corpus.sources[1].path / "000.txt").write_text("entirely other words")
    second = tools.run(corpus, tmp_path / "cache")
    assert second.content_hash != first.content_hash
    assert "entirely other words" in documents(second, second.sources[1].train) + documents(
        second, second.sources[1].validation
    )


@pytest.mark.parametrize("suffix", [".tokens", ".documents", "index.json", "report.json", "entry.json"])
def test_a_damaged_cache_is_mended_to_the_same_bytes(corpus, tmp_path, tools, suffix):
    first = tools.run(corpus, tmp_path / "cache")
    before = tools.tree(tmp_path / "cache")
    damaged = sorted((tmp_path / "cache" / "tokens").rglob(f"*{suffix}"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-2])
    kept = damaged.parent / "000000-000.tokens"
    inode = kept.stat().st_ino if kept.exists() else None
    assert tools.run(corpus, tmp_path / "cache").content_hash == first.content_hash
    assert tools.tree(tmp_path / "cache") == before
    if inode and not damaged.name.startswith("000000"):
        assert kept.stat().st_ino == inode, "what was whole is not done again"


def test_a_flipped_bit_is_mended_when_verification_is_asked_for(corpus, tmp_path, tools):
    tools.run(corpus, tmp_path / "cache")
    before = tools.tree(tmp_path / "cache")
    damaged = sorted((tmp_path / "cache" / "tokens").rglob("*.tokens"))[2]
    data = bytearray(damaged.read_bytes())
    data[0] ^= 1
    damaged.write_bytes(data)
    tools.run(corpus, tmp_path / "cache", verify=True)
    assert tools.tree(tmp_path / "cache") == before


def test_damage_found_by_verification_is_not_forgotten_when_the_mending_is_interrupted(corpus, tmp_path, tools, monkeypatch):
    tools.run(corpus, tmp_path / "cache")
    before = tools.tree(tmp_path / "cache")
    damaged = sorted((tmp_path / "cache" / "tokens").rglob("train/000001-000.tokens"))[0]
    data = bytearray(damaged.read_bytes())
    data[0] ^= 1
    damaged.write_bytes(data)
    monkeypatch.setattr(Tokenizer, "encode_batch", lambda *_: sys.exit())
    with pytest.raises(SystemExit):
        tools.run(corpus, tmp_path / "cache", verify=True)
    monkeypatch.undo()
    tools.run(corpus, tmp_path / "cache")
    assert tools.tree(tmp_path / "cache") == before


def test_what_a_dead_process_left_behind_is_swept_away(corpus, tmp_path, tools):
    tools.run(corpus, tmp_path / "cache")
    before = tools.tree(tmp_path / "cache")
    for entry in (tmp_path / "cache" / "tokens").glob("*/entry.json"):
        entry.unlink()
        for name in ("000099-000.tokens", ".000002-000.tokens.staged", ".index.json.1-2.staged"):
            (entry.parent / "train" / name).write_bytes(b"left behind")
        (entry.parent / "pieces" / "000099.json").write_text("{}")
    tools.run(corpus, tmp_path / "cache")
    assert tools.tree(tmp_path / "cache") == before


def test_each_vocabulary_has_its_own_tokens(corpus, tmp_path, tools):
    prepared = {size: tools.run(corpus, tmp_path / "cache", vocab_size=size) for size in (280, 300, 280)}
    assert len({each.content_hash for each in prepared.values()}) == 2
    for size, each in prepared.items():
        assert each.tokenizer.vocab_size == size
        assert all(documents(each, source.train) for source in each.sources)
    assert prepared[280].train_tokens > prepared[300].train_tokens


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-100], lambda data: data.replace(b"{1,3}", b"{1,2}")], ids=["cut", "altered"]
)
def test_a_damaged_vocabulary_is_learnt_again(corpus, tmp_path, tools, damage):
    tools.run(corpus, tmp_path / "cache")
    before = tools.tree(tmp_path / "cache")
    (path,) = (tmp_path / "cache" / "tokenizers").glob("*/tokenizer.json")
    path.write_bytes(damage(path.read_bytes()))
    tools.run(corpus, tmp_path / "cache")
    assert tools.tree(tmp_path / "cache") == before


def test_validation_text_may_be_given(corpus, tmp_path, tools):
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text('{"text": "first"}\n{"text": "second"}\n{"text": ""}\n')
    source = corpus.sources[0].model_copy(update={"validation_path": held_out})
    prepared = tools.run(corpus.model_copy(update={"sources": (source,)}), tmp_path / "cache")
    assert documents(prepared, prepared.sources[0].validation) == ["first", "second"]
    assert prepared.sources[0].train.num_documents == 397
    assert prepared.report.total == 4


def test_the_vocabulary_size_comes_from_the_caller_else_the_configuration(corpus, tmp_path, tools):
    small = corpus.model_copy(update={"sources": corpus.sources[1:2]})
    sizes = [
        tools.run(small, tmp_path / "cache", TokenizerSection(vocab_size=configured), vocab_size=given).tokenizer.vocab_size
        for configured, given in (("auto", 290), (280, None), (280, 270))
    ]
    assert sizes == [290, 280, 270]


def test_a_document_longer_than_a_shard_is_spread_and_whole(tmp_path, tools):
    rows = [{"text": "short one"}, {"text": "many words " * 20_000}, *({"text": f"row {number}"} for number in range(60))]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = DataSection(sources=(SourceSection(path=tmp_path / "rows.jsonl"),), validation_frac=0.2)
    prepared = tools.run(data, tmp_path / "cache")
    (source,) = prepared.sources
    texts = documents(prepared, source.train) + documents(prepared, source.validation)
    assert sorted(texts) == sorted(row["text"] for row in rows)
    assert all(shard.tokens <= 3000 for shard in source.train.shards + source.validation.shards)


def test_loading_what_was_prepared_sees_every_token(corpus, tmp_path, tools):
    prepared = tools.run(corpus, tmp_path / "cache")
    single = type(prepared)(tokenizer=prepared.tokenizer, sources=prepared.sources[:1])
    loader = Loader(single, seq_len=64, seed=3)
    windows = -(-single.train_tokens // 64)
    batch = loader.batch(0, windows)
    assert batch.num_targets == single.train_tokens
    assert batch.num_bytes == single.train_bytes
    assert loader.epoch_of(windows) == pytest.approx(1.0, abs=0.01)
    judged = list(validation_batches(prepared, 64, 8))
    assert sum(each.num_targets for each in judged) == prepared.validation_tokens
    assert sum(each.num_bytes for each in judged) == prepared.validation_bytes


def test_every_number_of_processes_reads_the_same_global_batches(corpus, tmp_path, tools):
    prepared = tools.run(corpus, tmp_path / "cache")
    whole = [Loader(prepared, 32, 7).batch(first, 8).tokens for first in range(0, 40, 8)]
    for world in (1, 2, 4, 8):
        loaders = [Loader(tools.run(corpus, tmp_path / "cache"), 32, 7) for _ in range(world)]
        for step, first in enumerate(range(0, 40, 8)):
            joined = np.empty_like(whole[step])
            for rank, loader in enumerate(loaders):
                joined[rank::world] = loader.rows(np.arange(first + rank, first + 8, world)).tokens
            assert np.array_equal(joined, whole[step])
