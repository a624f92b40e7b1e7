"""Copies: planted ones are found, unrelated texts are not, and the search agrees with comparing all pairs."""

from __future__ import annotations

import json
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain.data.inspect.duplicates import find_duplicates
from tuitrain.data.inspect.minhash import MinHasher, choose_bands, jaccard, shingles
from tuitrain.data.inspect.near import COMPARED
from tuitrain.data.inspect.words import ngram_hashes, word_hashes, words

WORDS = [f"w{number}" for number in range(500)]


def text_of(rng, count=60):
    return " ".join(rng.choices(WORDS, k=count))


def replaced(text, *places):
    pieces = text.split()
    for place in places:
        pieces[place] = f"other{place}"
    return " ".join(pieces)


def test_exact_copies_differ_in_white_space_at_most():
    report = find_duplicates(["a b\n c", "x", "a  b c ", "A b c", "caf\u00e9", "cafe\u0301"], list("ABCDEF"))
    assert [group.indices for group in report.exact] == [(0, 2), (4, 5)]
    assert report.exact[0].where == ("A", "C")
    assert report.exact[0].similarity == 1
    assert report.near == ()
    assert report.redundant == 2


def test_a_planted_near_copy_is_found_with_its_similarity():
    rng = random.Random(0)
    texts = [text_of(rng) for _ in range(300)]
    texts[250] = replaced(texts[7], 3)  # 4 of 56 shingles hold the fourth word: similarity 52 / 60
    report = find_duplicates(texts)
    assert [group.indices for group in report.near] == [(7, 250)]
    assert report.near[0].similarity == pytest.approx(52 / 60)
    assert report.exact == ()


def test_case_and_punctuation_do_not_count_for_near_copies():
    report = find_duplicates(
        ["Return the number of items, please.", "return the NUMBER of items -- please", "nothing like it at all, no"]
    )
    assert [(group.indices, group.similarity) for group in report.near] == [((0, 1), 1.0)]


def test_short_texts_are_copies_only_when_exact():
    report = find_duplicates(["a + b", "a - b", "", " ", "!!!", "???"])
    assert [group.indices for group in report.exact] == [(2, 3)]
    assert report.near == ()


def test_below_the_threshold_is_no_copy():
    text = text_of(random.Random(1))
    pair = [text, replaced(text, 5, 20, 40)]  # 15 of 56 shingles changed: 41 / 71
    assert find_duplicates(pair).near == ()
    assert len(find_duplicates(pair, threshold=0.5).near) == 1


def test_texts_that_share_boilerplate_are_compared_with_few_and_still_grouped():
    rng = random.Random(2)
    text = text_of(rng, 80)
    alike = [f"{text} {number}" for number in range(20 * COMPARED)]
    report = find_duplicates(alike)
    assert [len(group.indices) for group in report.near] == [len(alike)]


def test_groups_hold_one_of_each_exact_group_so_redundant_counts_nothing_twice():
    text = text_of(random.Random(3))
    near = replaced(text, 0)
    report = find_duplicates([text, text, near, near, "something else entirely, on its own"])
    assert [group.indices for group in report.exact] == [(0, 1), (2, 3)]
    assert [group.indices for group in report.near] == [(0, 2)]
    assert report.redundant == 3


def test_the_report_is_json_and_names_few_of_many():
    texts = [f"{number}" for number in range(80)] * 7
    data = json.loads(json.dumps(find_duplicates(texts).to_dict()))
    assert data["exact_groups"] == 80
    assert len(data["exact"]) == 50
    assert data["exact"][0] == {"count": 7, "similarity": 1, "where": ["#0", "#80", "#160", "#240", "#320"], "sample": "0"}


def test_no_texts_no_copies():
    assert find_duplicates([]).redundant == 0
    assert find_duplicates(["one text"]).redundant == 0


@settings(max_examples=30, derandomize=True)  # banding finds 99.8 % of pairs at the threshold: a new draw may miss one
@given(st.integers(0, 2**32), st.integers(2, 40))
def test_groups_are_those_of_comparing_all_pairs(seed, count):
    """One word replaced leaves 71 of 81 shingles, a similarity of 0.877: found with a probability of 0.999996."""
    rng = random.Random(seed)
    texts = [text_of(rng, 80)]
    for _ in range(count):
        texts.append(replaced(rng.choice(texts), rng.randrange(80)) if rng.random() < 0.5 else text_of(rng, 80))
    texts = list(dict.fromkeys(texts))
    parent = list(range(len(texts)))
    sets = [shingles(text) for text in texts]
    for one, other in combinations(range(len(texts)), 2):
        if jaccard(sets[one], sets[other]) >= 0.8:
            parent = [parent[one] if each == parent[other] else each for each in parent]
    groups = {root: tuple(index for index, each in enumerate(parent) if each == root) for root in parent}
    expected = {indices for indices in groups.values() if len(indices) > 1}
    assert {group.indices for group in find_duplicates(texts).near} == expected


def test_signatures_estimate_jaccard():
    """128 minima: a standard deviation of 0.044 at most; the mean of 100 seeds is within 4 of its own."""
    one, other = np.arange(0, 3000, dtype=np.uint64), np.arange(1000, 4000, dtype=np.uint64)
    one, other = ngram_hashes(one, 1), ngram_hashes(other, 1)
    hashers = [MinHasher(128, seed) for seed in range(100)]
    estimates = [float((each.signature(one) == each.signature(other)).mean()) for each in hashers]
    truth = jaccard(np.sort(one), np.sort(other))
    assert truth == 0.5
    assert abs(np.mean(estimates) - truth) < 4 * 0.0044, f"mean estimate {np.mean(estimates)} of {truth}"
    assert 0.03 < np.std(estimates) < 0.06


@given(st.floats(0.3, 0.97))
def test_bands_find_pairs_at_the_threshold(threshold):
    bands, rows = choose_bands(threshold, 128)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= 0.99
    assert choose_bands(0.8, 128) == (21, 6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP, snake_case 3.14!", ["don", "t", "stop", "snake", "case", "3", "14"]),
        ("caf\u00e9 CAFE\u0301", ["caf\u00e9", "caf\u00e9"]),
        ("\u6f22\u5b57 and kana", ["\u6f22", "\u5b57", "and", "kana"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u0939\u0948", ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u0948"]),
        ("", []),
        ("\ud800 lone", ["lone"]),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.text(), st.integers(0, 6))
def test_ngrams_are_hashes_of_runs_of_words(text, n):
    found, hashes = words(text), ngram_hashes(word_hashes(text), n)
    runs = [tuple(found[place : place + n]) for place in range(len(found) - n + 1)] if n else []
    assert len(hashes) == len(runs)
    assert len(set(hashes.tolist())) == len(set(runs))
