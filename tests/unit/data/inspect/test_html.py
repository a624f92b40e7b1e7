"""The page: every section, nothing hostile gets through raw, and a report may be read back from JSON."""

from __future__ import annotations

import json
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain.data.chat.findings import Finding
from tuitrain.data.inspect import html_tokens
from tuitrain.data.inspect.contamination import find_contamination
from tuitrain.data.inspect.duplicates import find_duplicates
from tuitrain.data.inspect.html import to_html
from tuitrain.data.inspect.languages import count_languages
from tuitrain.data.inspect.lengths import measure_lengths
from tuitrain.data.inspect.token_diff import diff_tokens
from tuitrain.data.inspect.token_view import KINDS, view_tokens

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Tags, attributes and text; fails where an element is closed that is not open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def full_report(text, where="data.jsonl:1"):
    long = f"{text} " + " ".join(f"w{number}" for number in range(30))
    ids = list(text.encode("utf-8", "replace"))
    view = view_tokens(ids, [place % 2 == 0 for place in range(len(ids))], lambda token: bytes([token]), packs=[0] * len(ids))
    report = {
        "title": text,
        "facts": [["source", text], ["examples", 12345], [text, 0.5]],
        "findings": [Finding(check="mask", severity="block", message=text, fix=text, where=(where, text), count=2).to_dict()],
        "lengths": measure_lengths([10, 20, 3000], [5, 5, 5], [(text, "assistant")] * 3, limit=2048).to_dict(),
        "languages": count_languages([long], lambda prose: (text, 1.0)).to_dict(),
        "duplicates": find_duplicates([long, long, f"{long} more"], [text, where, where]).to_dict(),
        "contamination": find_contamination([(text, long)], [(text, long)]).to_dict(),
        "examples": [{"where": text, "note": text, "view": view.to_dict()}],
        "serving": {"where": text, "note": text, "diff": diff_tokens(ids, ids[1:], lambda token: bytes([token])).to_dict()},
    }
    return json.loads(json.dumps(report))


HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "</title></style></div><b onclick='x'>",
    "<!-- comment --><![CDATA[x]]>&lt;&#x3c;script",
    "\x1b[31mred\x1b]0;title\x07 \x9b2J",
    "right\u202eleft\u200f\u2066\u200b\ufeff",
    "nul\x00 \ud800 \udce6 \U000e0041 \u2028 \x85",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_ever_text(text):
    page = to_html(full_report(text))
    page.encode("utf-8")
    assert {char for char in page if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\n", "\t"}
    parsed, harmless = Page(page), Page(to_html(full_report("harmless text, as long")))
    assert parsed.open == []
    assert set(parsed.tags) <= set(harmless.tags)
    assert "script" not in parsed.tags
    assert {name for name, _ in parsed.attributes} <= {name for name, _ in harmless.attributes}


@given(st.text(st.characters(exclude_categories=[]), min_size=1))
def test_any_text_gives_a_sound_page(text):
    report = {
        "title": text,
        "facts": [[text, text]],
        "examples": [{"where": text, "view": {"spans": [[text, text, 3]], "boundaries": []}}],
    }
    page = to_html(report)
    assert {char for char in page if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\n", "\t"}
    assert Page(page).open == []


def test_the_page_is_self_contained_and_says_everything():
    page = to_html(full_report("What is a kanji?"))
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert not {"src", "href"} & {name for name, _ in parsed.attributes}
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    for heading in (
        "Findings",
        "Lengths",
        "Languages",
        "Copies",
        "Evaluation text in the training text",
        "What the model sees",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert "blocks" in parsed.text
    assert "12\u2009345" in parsed.text
    assert "only serving" in parsed.text
    assert 'title="87 trained"' in page  # W


def test_a_title_alone_is_a_page():
    page = to_html({"title": "data", "lengths": None})
    assert "<h1>data</h1>" in page
    assert "<h2>" not in page


def test_languages_that_could_not_be_told_say_why_and_what_to_do():
    raw = {
        "texts": 3,
        "shares": [],
        "reason": "languages were not told: py3langid is not installed",
        "install": "pip install it",
    }
    page = to_html({"title": "data", "languages": raw})
    assert "py3langid is not installed" in page
    assert "<code>pip install it</code>" in page


def test_the_legend_names_every_kind_and_each_looks_different_without_colour():
    page = to_html(full_report("text of an example"))
    for kind in KINDS:
        assert f'<span class="{kind}">{kind.replace("-", ", ")}</span>' in page


def test_a_long_example_is_cut_and_says_so():
    ids = [97] * (html_tokens.MAX_TOKENS + 5)
    view = view_tokens(ids, [True] * len(ids), lambda token: bytes([token])).to_dict()
    assert html_tokens.view(view).count("<span") == html_tokens.MAX_TOKENS
    assert "and 5 more tokens" in html_tokens.view(view)


def test_equal_stretches_of_a_comparison_are_folded():
    raw = diff_tokens([*range(100), 7, *range(100)], [*range(100), 8, *range(100)]).to_dict()
    page = html_tokens.diff(raw)
    assert page.count("... 97 equal ...") == 2
    assert page.count("<tr") == 1 + 2 + 7  # head, folded, the difference with three rows on each side
    assert "Identical" in html_tokens.diff(diff_tokens([1], [1]).to_dict())
