"""Languages: what is left undetermined, that a missing package is said, and py3langid itself where it is installed."""

from __future__ import annotations

import importlib
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain.data.inspect.languages import INSTALL, count_languages, language, prose

ENGLISH = "Return the number of items that are left in the queue at this moment."


def never(text):
    pytest.fail(f"asked for {text!r}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "2 + 2 = 4, 17 * 3 = 51, 100 / 4 = 25",
        "def f(x):\n    return x + 1\n\n\nprint(f(41))\n",
        "for (int i = 0; i < n; i++) {\n  sum += values[i];\n}\nreturn sum;",
        "import os\nimport sys\nfrom pathlib import Path\n",
        "```python\nprint('a program that greets the whole world')\n```",
        '{"name": "someone", "numbers": [1, 2, 3]}',
        "https://example.com/a/very/long/address/that/has/many/letters/in/it",
    ],
)
def test_code_and_short_texts_are_undetermined_without_asking(text):
    assert language(text, never) == "und"


def test_prose_around_code_is_judged_without_it():
    text = f"{ENGLISH}\n\n>>> queue.size()\n3\n```\nx = 1\n```\nIt never blocks and never raises an error at all."
    seen = []
    assert language(text, lambda prose: (seen.append(prose) or "en", 0.9)) == "en"
    assert ">>>" not in seen[0]
    assert "x = 1" not in seen[0]


def test_doubt_and_no_language_are_undetermined():
    assert language(ENGLISH, lambda text: ("fr", 0.1)) == "und"
    assert language(ENGLISH, lambda text: ("zxx", 0.9)) == "und"
    assert language("\u8fd9\u662f\u4ec0\u4e48\u610f\u601d", lambda text: ("zh", 0.9)) == "zh"


def test_shares():
    report = count_languages([ENGLISH, ENGLISH, "Bonjour " * 4, "x"], lambda text: ("fr" if "Bonjour" in text else "en", 1.0))
    assert [(share.code, share.texts, share.share) for share in report.shares] == [
        ("en", 2, 0.5),
        ("fr", 1, 0.25),
        ("und", 1, 0.25),
    ]
    assert report.told
    assert count_languages([], never).shares == ()


def test_a_missing_package_is_said_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid", None)
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    report = count_languages([ENGLISH] * 3)
    assert not report.told
    assert "py3langid" in report.reason
    assert report.install == INSTALL
    assert (report.texts, report.shares) == (3, ())
    assert report.to_dict()["install"].startswith("pip install 'py3langid")


@pytest.mark.parametrize("piece", ["{", "<", "`", "a.b(", "from ", "a@", "x", "https://"])
def test_no_text_takes_long(piece):
    text = piece * 10**5
    start = time.process_time()
    language(text, lambda text: ("en", 1.0))
    assert time.process_time() - start < 1, "the patterns take more than linear time"


@given(st.text())
def test_prose_is_never_more_than_the_text(text):
    assert len(prose(text)) <= len(text) + 1


def test_the_real_identifier():
    try:
        importlib.import_module("py3langid")
    except ModuleNotFoundError:
        pytest.skip(f"py3langid is not installed: {INSTALL}")
    texts = [
        ENGLISH,
        "Quelle est la capitale de la France ? C'est Paris, bien s\u00fbr.",
        "Wie sp\u00e4t ist es gerade in Berlin?",
    ]
    assert {share.code for share in count_languages(texts).shares} == {"en", "fr", "de"}
