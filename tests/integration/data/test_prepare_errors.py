"""Preparing what cannot be prepared: every failure names file and line, says what to do, and keeps what was done."""

from __future__ import annotations

import json

import pytest

from tuitrain.config.schema import DataSection, SourceSection, TokenizerSection
from tuitrain.data import train_bpe
from tuitrain.errors import DataError, UsageError


def test_a_file_that_changes_while_it_is_read_is_noticed(corpus, tmp_path, tools):
    path = corpus.sources[1].path / "004.txt"

    def meddle(message):
        if message.phase == "tokenizer":
            path.write_text("changed")

    with pytest.raises(DataError, match=r"004\.txt was changed while it was read"):
        tools.run(corpus, tmp_path / "cache", progress=meddle)


def test_fatal_stops_at_the_first_bad_row_with_file_and_line(corpus, tmp_path, tools):
    fatal = corpus.model_copy(update={"on_error": "fatal"})
    for cache in ("fresh", "prepared"):
        if cache == "prepared":
            tools.run(corpus, tmp_path / cache)
        with pytest.raises(DataError, match=rf"{corpus.sources[0].path}:8: not JSON") as error:
            tools.run(fatal, tmp_path / cache)
        assert "skip" in error.value.hint


def test_fatal_keeps_the_pieces_finished_before(corpus, tmp_path, tools):
    rows = [json.dumps({"text": f"row {number} " * 50}) for number in range(200)] + ["{broken"]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    source = SourceSection(path=tmp_path / "rows.jsonl")
    file = tmp_path / "tokenizer.json"
    file.write_text(train_bpe(["row 0 row 1"], 300))
    section = TokenizerSection(kind="file", path=file)
    with pytest.raises(DataError, match=r"jsonl:201"):
        tools.run(DataSection(sources=(source,), on_error="fatal"), tmp_path / "cache", section)
    kept = sorted((tmp_path / "cache").rglob("*.tokens"))
    assert len(kept) > 3
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert not list((tmp_path / "cache").rglob("*.staged"))
    prepared = tools.run(DataSection(sources=(source,)), tmp_path / "cache", section)
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    assert prepared.train_documents + prepared.validation_documents == 200


def test_a_side_without_documents_is_an_error_with_a_hint(tmp_path, tools):
    (tmp_path / "one.jsonl").write_text('{"text": "the only one"}')
    with pytest.raises(DataError, match="none of its 1 documents is a validation document") as error:
        tools.run(DataSection(sources=(SourceSection(path=tmp_path / "one.jsonl"),)), tmp_path / "cache")
    assert "validation_path" in error.value.hint


def test_no_readable_document_is_an_error_that_names_the_first_bad_row(tmp_path, tools):
    (tmp_path / "rows.jsonl").write_text('{"body": "a"}\n{"body": "b"}\n')
    data = DataSection(sources=(SourceSection(path=tmp_path / "rows.jsonl"),))
    with pytest.raises(DataError, match=r"rows\.jsonl:1: no key 'text' \(keys: body\)") as error:
        tools.run(data, tmp_path / "cache")
    assert "text_key" in error.value.hint
    file = tmp_path / "tokenizer.json"
    file.write_text(train_bpe(["a"], 300))
    for _ in range(2):  # also when the pieces are there already
        with pytest.raises(DataError, match=r"2 bad rows: 2 key; the first: .*rows\.jsonl:1: no key"):
            tools.run(data, tmp_path / "cache", TokenizerSection(kind="file", path=file))


@pytest.mark.parametrize(
    "sources", [(), (SourceSection(),), (SourceSection(corpus="python-stdlib", dataset="x"),)], ids=["none", "empty", "two"]
)
def test_a_mixture_of_nothing_is_an_error_with_a_hint(tmp_path, tools, sources):
    with pytest.raises(DataError) as error:
        tools.run(DataSection(sources=sources), tmp_path / "cache")
    assert error.value.hint


@pytest.mark.parametrize(
    "section", [TokenizerSection(kind="tiktoken"), TokenizerSection(kind="file")], ids=["tiktoken", "file"]
)
def test_a_tokenizer_without_its_name_or_path_is_an_error_with_a_hint(corpus, tmp_path, tools, section):
    with pytest.raises(UsageError) as error:
        tools.run(corpus, tmp_path / "cache", section)
    assert error.value.hint
