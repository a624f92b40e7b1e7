"""Evaluation text in the training text: planted runs of words are found with their share and place, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain.data.inspect.contamination import find_contamination


def run(start, count, word="w"):
    return " ".join(f"{word}{number}" for number in range(start, start + count))


def test_a_planted_text_is_found_where_it_stands():
    training = [("train.jsonl:1", run(0, 50, "x")), ("train.jsonl:2", f"before {run(0, 30)} after"), ("train.jsonl:3", "w1 w2")]
    report = find_contamination(training, [("eval:1", run(0, 30)), ("eval:2", run(100, 30))])
    (item,) = report.items
    assert (item.where, item.n, item.ngrams, item.found, item.share) == ("eval:1", 13, 18, 18, 1.0)
    assert item.places == ("train.jsonl:2",)
    assert (report.evaluated, report.clean, report.mostly, report.training_texts) == (2, 1, 1, 3)


def test_case_punctuation_and_white_space_do_not_count():
    text = "The quick brown fox jumps over the lazy dog near the old river bank today."
    training = [("t", text.upper().replace(" ", " ,\n").replace(".", "!?"))]
    assert find_contamination(training, [("e", text)]).items[0].share == 1


def test_a_share_is_of_the_items_own_ngrams():
    report = find_contamination([("a", run(0, 20)), ("b", run(20, 16))], [("e", run(0, 40))])
    (item,) = report.items
    assert (item.ngrams, item.found) == (28, 8 + 4)  # 20 - 12 and 16 - 12 runs of 13 words
    assert item.places == ("a", "b")
    assert report.mostly == 0


def test_twelve_words_alike_are_no_contamination_of_a_long_text():
    assert find_contamination([("t", run(0, 12))], [("e", run(0, 40))]).items == ()


def test_short_texts_are_judged_by_eight_words():
    report = find_contamination([("t", run(2, 8))], [("e", run(0, 12))])
    assert [(item.n, item.ngrams, item.found) for item in report.items] == [(8, 5, 1)]


def test_very_short_texts_are_found_whole_only():
    evaluation = [("same", "Capital of France? Paris"), ("inside", "of France")]
    report = find_contamination(
        [("t1", "capital of france: PARIS."), ("t2", "the whole of France and more, nine words long now")], evaluation
    )
    assert [(item.where, item.n, item.places) for item in report.items] == [("same", 4, ("t1",))]


def test_training_is_streamed_and_evaluation_read_first():
    order = []

    def stream(name, texts):
        for number, text in enumerate(texts):
            order.append(name)
            yield f"{name}:{number}", text

    find_contamination(stream("train", [run(0, 20)] * 3), stream("eval", [run(0, 20)] * 2))
    assert order == ["eval"] * 2 + ["train"] * 3


def test_texts_without_words_are_not_evaluated():
    report = find_contamination([("t", "!!!")], [("e", "..."), ("f", "")])
    assert (report.evaluated, report.items) == (0, ())
    assert find_contamination([], []).to_dict()["dirty"] == 0


def test_the_report_is_json_and_names_few_of_many():
    report = find_contamination([("t", run(0, 40))], [(f"e{number}", run(0, 20)) for number in range(60)])
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["dirty"], len(data["items"]), data["mostly"]) == (60, 50, 60)
    assert data["items"][0]["places"] == ["t"]


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.lists(st.integers(0, 3), max_size=60), max_size=4))
def test_shares_are_those_of_a_plain_search(item, training):
    item, training = [str(word) for word in item], [[str(word) for word in text] for text in training]
    n = 13 if len(item) >= 13 else 8 if len(item) >= 8 else len(item)
    runs = [item[place : place + n] for place in range(len(item) - n + 1)] if item else []
    known = [text[place : place + n] for text in training for place in range(len(text) - n + 1)] if n >= 8 else training
    found = sum(each in known for each in runs)
    report = find_contamination(
        [(str(number), " ".join(text)) for number, text in enumerate(training)], [("e", " ".join(item))]
    )
    assert [(each.ngrams, each.found) for each in report.items] == ([(len(runs), found)] if found else [])
    if found:
        assert report.items[0].share == pytest.approx(found / len(runs))
