"""Our rendering of chat templates is transformers': same text, same ids, same refusals, over every template of trl that takes
plain text and over what templates may use of Jinja."""

from __future__ import annotations

import functools
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tuning import SPECIAL, encoder_of, everything, transformers_tokenizer, trl_names, trl_template, turns

from tuitrain.data.chat.template import CHATML, ChatTemplate
from tuitrain.errors import DataError

SYSTEM, ASKED, AGAIN = (
    ("system", " Be brief. \n"),
    ("user", "What is  2+2?\n"),
    ("user", "And <b>3</b> & 'x' \"y\"? Grüße 2024"),
)
TOLD, THOUGHT = ("assistant", "\n4, of course. 😀 "), ("assistant", "<think>\nhm\n</think>\n\n6")
CONVERSATIONS = {
    "question": turns(ASKED),
    "answered": turns(ASKED, TOLD),
    "system": turns(SYSTEM, ASKED, TOLD),
    "two rounds": turns(ASKED, TOLD, AGAIN, THOUGHT),
    "thought first": turns(SYSTEM, ASKED, THOUGHT, AGAIN, TOLD),
    "asked again": turns(SYSTEM, ASKED, TOLD, AGAIN),
    "user twice": turns(ASKED, AGAIN),
    "assistant first": turns(TOLD, ASKED),
    "system last": turns(ASKED, SYSTEM),
    "empty system": turns(("system", ""), ASKED, TOLD),
}
TAKE_NO_TEXT = {"llava_next", "llava_next_training"}
"""Contents are lists of parts to these alone."""


def theirs_of(source, conversation, add_generation_prompt):
    """(transformers' text, None) or (None, why it refuses)."""
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        texts, _ = render_jinja_template(
            [conversation], chat_template=source, add_generation_prompt=add_generation_prompt, **SPECIAL
        )
    except Exception as error:
        return None, error
    return texts[0], None


@functools.cache
def compiled(source):
    return ChatTemplate(source, SPECIAL, origin="here")


def assert_same(source, conversation, add_generation_prompt):
    """Returns whether it was refused."""
    template = compiled(source)
    want, refusal = theirs_of(source, conversation, add_generation_prompt)
    if refusal is not None:
        with pytest.raises(DataError, match=r"(?s)the chat template refuses: .*the template is here"):
            template.render(conversation, add_generation_prompt=add_generation_prompt)
        return True
    assert template.render(conversation, add_generation_prompt=add_generation_prompt) == want
    return False


@pytest.fixture(autouse=True)
def without_advice(caplog):
    caplog.set_level(logging.ERROR, logger="transformers")


@pytest.mark.parametrize("name", trl_names())
def test_text_ids_and_refusals_are_those_of_transformers(name):
    source = trl_template(name)
    refused = [
        (which, prompted)
        for which, conversation in CONVERSATIONS.items()
        for prompted in (False, True)
        if assert_same(source, conversation, prompted)
    ]
    if name in TAKE_NO_TEXT:
        return
    assert not {("answered", False), ("two rounds", False), ("two rounds", True)} & set(refused)
    # The same tokenizer.json, read by transformers' AutoTokenizer and by us.
    encoder, tokenizer = encoder_of(everything().name), transformers_tokenizer(everything().name)
    assert encoder.special == SPECIAL
    for conversation in (CONVERSATIONS["answered"], CONVERSATIONS["two rounds"]):
        for prompted in (False, True):
            want = tokenizer.apply_chat_template(
                conversation, chat_template=source, add_generation_prompt=prompted, return_dict=False
            )
            assert encoder.encode(compiled(source).render(conversation, add_generation_prompt=prompted)).ids == want


texts = st.text(st.characters(codec="utf-8", exclude_characters="\ufdd0\ufdd1"), max_size=30)


@pytest.mark.parametrize("name", ["chatml", "llama3", "qwen3", "gemma3_training", "lfm2_2_5"])
@settings(max_examples=25)
@given(contents=st.lists(texts, min_size=1, max_size=4), system=texts | st.none(), prompted=st.booleans())
def test_any_text_renders_as_in_transformers(name, contents, system, prompted):
    said = [("user" if number % 2 == 0 else "assistant", content) for number, content in enumerate(contents)]
    source = CHATML if name == "chatml" else trl_template(name)
    assert_same(source, turns(*([("system", system)] if system is not None else []), *said), prompted)


FEATURES = {
    "tojson escapes nothing": "{{ messages | tojson }}",
    "tojson separators": "{{ messages | tojson(separators=(',', ':')) }}",
    "tojson by position": "{{ messages | tojson(True, 2, (', ', ': '), True) }}",
    "loop controls": "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "white space of blocks": "  {% for m in messages %}\n  {{ m.role }}\n  {%- if true %} x {% endif -%}\n {% endfor %}\n\n",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "date": "{{ strftime_now('%Y %B') }}",
    "special tokens": "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token }}|{{ sep_token }}",
    "tools and documents are none": "{{ tools is none }}{{ documents is none }}{{ enable_thinking is defined }}",
    "no other keys": "{% for m in messages %}{{ m.tool_calls is defined }}{{ m.name }}{{ m['reasoning_content'] }}{% endfor %}",
    "methods of text": "{% for m in messages %}{{ m.content.strip().split(' ')[0] | upper }}{% endfor %}",
    "marks nested in a macro": (
        "{% macro say(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
        "{% for m in messages %}{{ say(m) }}{% endfor %}"
    ),
    "refuses by raise_exception": "{{ raise_exception('only poems') }}",
    "refuses by type": "{{ messages[0].content + 1 }}",
    "refuses the sandbox": "{{ messages.append(1) }}",
    "refuses classes": "{{ ''.__class__.__mro__ }}",
    "refuses what is undefined": "{{ messages[0].content.nothing.more }}",
}


@pytest.mark.parametrize("feature", FEATURES)
def test_features_of_jinja(feature):
    refused = assert_same(FEATURES[feature], turns(ASKED, TOLD), False)
    assert refused == feature.startswith("refuses")


def test_a_template_that_is_no_jinja_is_named():
    with pytest.raises(DataError, match=r"no Jinja: line 2.*\n*.*mend mine.jinja"):
        ChatTemplate("{% for m in messages %}\n{{ m.content }", {}, origin="mine.jinja")


@pytest.mark.parametrize(
    ("source", "marks"),
    [
        ("{% generation %}a{% endgeneration %}", True),
        ("{%- generation -%}a{%- endgeneration -%}", True),
        ("{%-  generation%}a{%endgeneration %}", True),
        ("{#- marks are {% generation %} and {% endgeneration %} -#}a", False),
        ("{{ '{% generation %}' }}", False),
        ("{% if generation %}a{% endif %}", False),
    ],
)
def test_marks_are_seen_however_they_are_written(source, marks):
    template = ChatTemplate(source, {}, origin="x")
    assert template.has_marks == marks
    if marks:
        assert template.render_marked(turns(ASKED)) == ("a", [(0, 1)])


def test_a_text_that_holds_our_marks_is_refused_and_not_misread():
    template = ChatTemplate("{% generation %}{{ messages[0].content }}{% endgeneration %}", {}, origin="x")
    with pytest.raises(DataError, match="marks change its text"):
        template.render_marked(turns(("user", "a\ufdd0b")))
