"""From rows on a disk to findings: each kind of trouble blocks or warns, with its place and a fix, and what is well says so."""

from __future__ import annotations

import pytest
from support.tuning import FAMILIES, encoder_of, everything, trl_template, write, write_rows, write_tokenizer

from tuitrain.config.schema import DataSection, SourceSection
from tuitrain.data.chat.mask_findings import mask_findings
from tuitrain.data.chat.preparation import prepare_examples


def said(*contents):
    """A conversation that begins with the user."""
    return [{"role": ("user", "assistant")[at % 2], "content": content} for at, content in enumerate(contents)]


def chats(count=6, rounds=1):
    contents = [f"{what} {at}" for at in range(rounds) for what in ("question", "answer")]
    return [{"messages": said(*(f"{content} of {row}" for content in contents))} for row in range(count)]


def raws(count=6, **changes):
    return [{"prompt": f"p {row}", "completion": f"c {row}", **changes} for row in range(count)]


def pairs(count=12, **rejected):
    """Pairs of answers; `rejected` by their number, where they are not the usual ones."""
    return [
        {
            "prompt": said(f"question {row}"),
            "chosen": said("", f"good {row}")[1:],
            "rejected": said("", rejected.get(f"r{row}", f"poor {row}"))[1:],
        }
        for row in range(count)
    ]


@pytest.fixture
def prepared(tmp_path):
    """prepared(rows, family, template=..., stage=...): PreparedExamples of a base of that family."""

    def make(rows, name="qwen2.5", *, template=None, stage="sft", judged=False, base=None, weights=(1.0,)):
        base = base or write_tokenizer(tmp_path / "base", FAMILIES[name], template)
        parts = [rows] if len(weights) == 1 else rows
        files = [write_rows(tmp_path / f"rows-{at}.jsonl", part) for at, part in enumerate(parts)]
        data = DataSection(
            sources=tuple(SourceSection(path=file, weight=weight) for file, weight in zip(files, weights, strict=True)),
            validation_frac=0.25,
        )
        return prepare_examples(
            data, stage=stage, judged=judged, base=base, cache_dir=tmp_path / "cache", progress=lambda now: None
        )

    return make


def blocking(prepared):
    found = [each for each in mask_findings(prepared) if each.severity == "block"]
    assert all(each.fix and each.message and each.count for each in found)
    return {each.check: each for each in found}


def test_good_examples_have_only_ok_findings(prepared):
    for rows in (chats(), chats(rounds=3), raws()):
        found = mask_findings(prepared(rows))
        assert [each.severity for each in found] == ["ok"] * len(found)
        assert {each.check for each in found} == {"mask", "end token", "template"}


def test_what_is_trained_is_counted(prepared):
    made = prepared(chats(20))
    message = next(each.message for each in mask_findings(made) if each.check == "mask")
    decoded = [
        made.encoder.decode(example.ids[example.trained].tolist())
        for example in (made.train[at] for at in range(len(made.train)))
    ]
    assert all(text.startswith("answer 0 of ") and text.endswith("<|im_end|>\n") for text in decoded)
    assert f"{made.train.num_trained:,} of {made.train.num_tokens:,} tokens" in message


def test_pad_that_is_the_end_token_is_told_and_no_trouble(prepared):
    found = mask_findings(prepared(chats(), "smollm2"))
    assert "padding is left out by position" in next(each.message for each in found if each.check == "end token")


HIDING = "{% for m in messages %}<|im_start|>{{ m.role }}\n<|im_end|>\n{% endfor %}{% if add_generation_prompt %}" \
    "<|im_start|>assistant\n{% endif %}"  # fmt: skip
DOUBLED = "{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m.content }}<|eot_id|>{% endfor %}"
ENDLESS = (
    "{% for m in messages %}{{ m.role }}:\n{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:\n{% endif %}"
)


@pytest.mark.parametrize(
    ("check", "template", "words"),
    [
        ("mask", HIDING, "does not show the answer"),
        ("end token", ENDLESS, "would never stop"),
        ("template", DOUBLED, "begin with <|begin_of_text|> twice"),
    ],
)  # fmt: skip
def test_a_template_that_is_wrong_blocks(prepared, check, template, words):
    found = blocking(prepared(chats(), "llama3" if "bos_token" in template else "qwen2.5", template=template))
    assert words in found[check].message
    assert "data.chat_template=" in found[check].fix
    assert found[check].where[0].endswith("rows-0.jsonl:1")
    assert found[check].count == 6


def test_a_prompt_that_training_never_saw_blocks(prepared):
    family = everything()
    found = blocking(prepared(chats(), family.name, template=trl_template("nemotron_3_nano")))
    assert "does not follow the prompt that serving would send" in found["template"].message


def test_a_template_that_rewrites_history_is_told_and_trained(prepared):
    made = prepared(chats(rounds=3), "qwen3")
    assert not blocking(made)
    assert len(made.train) + len(made.validation) == 18
    warned = [each for each in mask_findings(made) if each.severity == "warn"]
    assert ["became 18 examples" in each.message for each in warned] == [True]


def test_conversations_without_a_template_block(prepared, tmp_path):
    base = write_tokenizer(tmp_path / "base", FAMILIES["qwen2.5"])
    (base / "chat_template.jinja").unlink()
    found = blocking(prepared(chats(), base=base))
    assert "no chat template" in found["template"].message
    assert "chatml" in found["template"].fix
    assert not blocking(prepared(raws(), base=base)), "raw completions need none"


def test_completions_that_cannot_end_block(prepared, tmp_path):
    base = write_tokenizer(tmp_path / "base", FAMILIES["qwen2.5"])
    write(base / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    assert "names no end-of-text token" in blocking(prepared(raws(), base=base))["end token"].message


def test_a_mended_base_is_seen_though_the_examples_are_cached(prepared, tmp_path):
    """The fix that is named is done; what was found before must not be told again."""
    base = write_tokenizer(tmp_path / "base", FAMILIES["qwen2.5"])
    text_end, turn_end = encoder_of("qwen2.5").encode("<|endoftext|><|im_end|>").ids
    write(base / "tokenizer_config.json", {"eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"})
    write(base / "generation_config.json", {"eos_token_id": text_end})
    found = blocking(prepared(chats(), base=base))
    assert "generation_config.json" in found["end token"].fix
    write(base / "generation_config.json", {"eos_token_id": [text_end, turn_end]})
    assert not blocking(prepared(chats(), base=base))


def test_refused_examples_are_left_out_by_name(prepared):
    """Gemma takes no system turn."""
    rows = chats(8)
    rows[3]["messages"] = [{"role": "system", "content": "Be brief."}, *rows[3]["messages"]]
    made = prepared(rows, "gemma")
    (told,) = [each for each in mask_findings(made) if each.severity == "warn"]
    assert "1 examples left out: the chat template refuses: System role not supported" in told.message
    assert told.where[0].endswith("rows-0.jsonl:4")
    assert len(made.train) + len(made.validation) == 7


def test_a_pair_half_refused_leaves_no_trace(prepared):
    source = "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no bad') }}{% endif %}{% endfor %}"
    made = prepared(pairs(r2="bad"), template=source + FAMILIES["qwen2.5"].source, stage="dpo")
    assert len(made.train) + len(made.validation) == 22
    for at in range(len(made.train)):
        example = made.train[at]
        said_here = made.encoder.decode(example.ids[example.trained].tolist())
        assert said_here.startswith("poor " if at % 2 else "good ")
        assert said_here.endswith("<|im_end|>\n")
