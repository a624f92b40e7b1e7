"""A run's training examples as the microscope sees them, read as the trainer reads them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support.fake_runs import CHAT_TEMPLATE, CHATS, give_examples, make_run

from tuitrain.data.inspect.languages import LanguageReport
from tuitrain.errors import TuitrainError
from tuitrain.tui.render.data_report import report_lines
from tuitrain.tui.render.glyphs import ASCII, UNICODE
from tuitrain.tui.render.spans import line_width, plain
from tuitrain.tui.theme import STYLE_NAMES
from tuitrain.tui.tokens.reading import read_and_count, read_examples

DROPPING = CHAT_TEMPLATE.replace("{{ message['content'] }}", "{{ message['content'] | trim }}").replace(
    "{% if add_generation_prompt %}<|im_start|>assistant\n", "{% if add_generation_prompt %}<|im_start|>model\n"
)
"""Serving asks in another way than training answers."""


@pytest.fixture
def examples_of(tmp_path, monkeypatch):
    """examples_of(stage, ...) -> the Examples of a recorded run."""
    monkeypatch.setenv("TUITRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    untold = LanguageReport(texts=8, reason="languages were not told", install="pip install py3langid")
    monkeypatch.setattr("tuitrain.data.inspect.build.count_languages", lambda texts: untold)

    def read(stage="sft", say=lambda text: None, **options):
        run, _ = make_run(tmp_path / "runs", "tuned" if stage == "sft" else "preference", total=24)
        give_examples(run, Path(), stage=stage, **options)
        return read_examples(run, say)

    return read


def kinds(shown):
    return [kind for _, kind, _ in shown.view["spans"]]


def text(shown, *wanted):
    return "".join(piece for piece, kind, _ in shown.view["spans"] if not wanted or kind in wanted)


def test_what_is_trained_is_the_answer_with_its_end(examples_of):
    said = []
    examples = examples_of(say=said.append)
    assert examples.count == 7, "one of eight is held out"
    assert any("tokenize" in each for each in said)
    first = examples.example(0)
    assert first.title == "chats.jsonl:1"
    assert text(first, "trained", "special-trained") == "Paris, on the Seine.<|im_end|>↵\n"
    assert text(first).startswith("<|im_start|>user↵\nWhat is the capital of France?<|im_end|>↵\n")
    assert "9 trained" in first.note
    assert not examples.changed


def test_what_is_too_long_is_cut_and_said(examples_of):
    long = examples_of().example(5)
    assert kinds(long).count("truncated") == len(long.view["spans"]) - 97
    assert "left out" not in long.note, "cut, but still trained"


@pytest.mark.parametrize("number", range(4))
def test_a_packed_sequence_is_what_the_model_reads(examples_of, number):
    examples = examples_of()
    assert examples.sequences == 4
    shown, batch = examples.sequence(number), examples.loader.batch(number, 1)
    assert [token for _, _, token in shown.view["spans"]] == batch.tokens[0].tolist()
    assert sum(each is not None for each in shown.learns) == int((batch.targets >= 0).sum())
    assert shown.positions == tuple(batch.position_ids[0].tolist())
    assert kinds(shown).count("pad") == int((batch.document_ids < 0).sum())
    assert len(shown.view["boundaries"]) == int(batch.document_ids.max()) + 1
    # What follows is what is learnt, and the first token of an example is nobody's target.
    spans, starts = shown.view["spans"], {each["index"] for each in shown.view["boundaries"]}
    for place in range(len(spans) - 1):
        trained = spans[place + 1][1] in ("trained", "special-trained")
        assert trained == (shown.learns[place] is not None and place + 1 not in starts and spans[place + 1][1] != "pad")


def test_unpacked_rows_are_padded(examples_of):
    examples = examples_of(packing=False)
    shown = examples.sequence(0)
    assert examples.sequences == 7
    assert shown.title == "padded to 96 tokens"
    assert kinds(shown)[-1] in ("pad", "trained")
    assert [each["kind"] for each in shown.view["boundaries"]] == ["document"]


def test_a_pair_is_two_rows_of_one_prompt(examples_of):
    examples = examples_of("dpo")
    assert examples.count == 14
    assert examples.row_names == ("the better answer", "the worse answer")
    assert examples.example(0).note.startswith("pair 1, the better answer")
    assert examples.example(1).note.startswith("pair 1, the worse answer")
    assert text(examples.example(1), "trained") == "I do not know.↵\n"
    shown = examples.sequence(0)
    assert [each["kind"] for each in shown.view["boundaries"]] == ["pack", "pack"]
    assert len(shown.view["spans"]) == 2 * 96


def test_serving_is_compared_example_by_example(examples_of):
    examples = examples_of()
    for index in range(examples.count):
        compared = examples.serving(index)
        assert compared.diff["identical"], compared
        assert compared.title == examples.prepared.train.where[index]
    assert examples_of("dpo").serving(1).diff["identical"]


def test_a_template_that_serves_otherwise_is_seen(examples_of):
    compared = examples_of(template=DROPPING).serving(0)
    assert not compared.diff["identical"]
    assert compared.diff["first_difference"]["serving_text"] != compared.diff["first_difference"]["training_text"]


def test_examples_are_found_by_place_and_by_text(examples_of):
    examples = examples_of()
    assert examples.find("BLUE", 0) == 6
    assert examples.find("chats.jsonl:3", 0) == 2
    assert examples.find("what", 1) == 3, "the next one"
    assert examples.find("what", 4) == 0, "around the end"
    assert examples.find("nowhere", 0) is None


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [30, 78, 160])
def test_the_summary_tells_everything_and_fits(examples_of, width, glyphs):
    rows = report_lines(examples_of().report, width, glyphs)
    assert {style for row in rows for _, style in row} <= STYLE_NAMES
    shown = plain(rows, glyphs)
    for words in ("chat template", "findings", "WARNING", "lengths in tokens", "percentiles", "turns", "copies", "languages"):
        assert words in shown, words
    if width >= 78:
        assert max(map(line_width, rows)) <= width
        assert "399 in 7 examples, 257 trained (64%)" in shown
    if glyphs.ascii_only:
        assert shown.isascii()


def test_what_is_wrong_with_the_data_is_in_the_summary():
    group = {"count": 3, "similarity": 0.9, "where": ["a:1", "a:2"], "sample": "the same"}
    report = {
        "title": "sft data", "facts": [], "findings": [],
        "duplicates": {"texts": 9, "redundant": 4, "exact_groups": 1, "near_groups": 1, "exact": [group], "near": [group]},
        "contamination": {
            "evaluated": 5, "dirty": 2, "mostly": 1,
            "items": [{"where": "e:1", "share": 0.75, "n": 13, "places": ["a:1"]}],
        },
        "bad_rows": [{"source": "a.jsonl", "total": 2, "named": [{"where": "a:7", "problem": "no messages"}]}],
        "languages": {"reason": "", "shares": [{"code": "en", "share": 0.9}]},
    }  # fmt: skip
    shown = plain(report_lines(report, 90, UNICODE))
    for words in ("4 needless", "90% alike", "a:1, a:2: the same", "2 share text", "75%", "e:1, of its 13-word runs, in a:1",
                  "a:7", "no messages", "en 90%"):  # fmt: skip
        assert words in shown, words


def test_the_page_shows_the_example_looked_at(examples_of):
    page = examples_of().page(6)
    assert page.startswith("<!doctype html>")
    assert page.index("chats.jsonl:8") < page.index("chats.jsonl:2")
    assert "<script" not in page


def test_reading_tells_how_far_it_is_and_ends_when_nobody_looks(examples_of, tmp_path):
    examples_of()
    run, _ = make_run(tmp_path / "again", "tuned", total=24)
    give_examples(run, Path())
    news = []
    read_and_count(run, news.append, threading.Event())
    assert news[0].said == "reading the examples"
    assert any(each.examples for each in news)
    assert news[-1].report["title"] == "sft data: 8 examples"
    left = threading.Event()
    left.set()
    heard = []
    read_and_count(run, heard.append, left)
    assert heard == []


def test_data_that_changed_since_the_checkpoint_is_told(examples_of, tmp_path):
    from tuitrain.files import write_json

    examples = examples_of()
    run, _ = make_run(tmp_path / "again", "tuned", total=24)
    give_examples(run, Path())
    write_json(run.model_dir() / "trainer.json", {"data_hash": examples.prepared.content_hash})
    assert not read_examples(run, lambda text: None).changed
    write_json(run.model_dir() / "trainer.json", {"data_hash": "other"})
    assert read_examples(run, lambda text: None).changed


def test_a_base_that_is_gone_is_named(examples_of, tmp_path):
    import shutil

    examples_of()
    shutil.rmtree(tmp_path / "base")
    run, _ = make_run(tmp_path / "again", "tuned", total=24)
    give_examples(run, Path())
    shutil.rmtree(tmp_path / "base")
    news = []
    with pytest.raises(TuitrainError, match="the base this run was made with is gone"):
        read_and_count(run, news.append, threading.Event())
    assert "is gone" in news[-1].failed


def test_the_fake_chats_hold_what_the_tests_need():
    assert len(CHATS) == 8
