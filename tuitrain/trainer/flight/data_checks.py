"""Checks of examples before the model is loaded: those of `data.chat.checks`, and that serving sends what training saw."""

from __future__ import annotations

from collections.abc import Iterator

from tuitrain.config.schema import Config
from tuitrain.data.chat.checks import check_examples
from tuitrain.data.chat.encoder import ChatEncoder
from tuitrain.data.chat.findings import Finding
from tuitrain.data.chat.loader import ExampleLoader
from tuitrain.data.chat.preparation import PreparedExamples


def check_data(prepared: PreparedExamples, loader: ExampleLoader, config: Config, *, context: int) -> list[Finding]:
    """Everything that can be told without the model."""
    findings = check_examples(prepared, loader, config, context=context)
    findings += _same_as_serving(prepared.encoder, config)
    return findings


def _same_as_serving(encoder: ChatEncoder, config: Config) -> Iterator[Finding]:
    """transformers, which serves, must give the ids that training saw."""
    if encoder.template is None:
        return
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder.folder, trust_remote_code=config.model.trust_remote_code)
    tokenizer.chat_template = encoder.template.source
    turns = [
        {"role": "user", "content": "Say 3 things: a b\n\n  c, e.g. don't."},
        {"role": "assistant", "content": "One. 2!\n\nThree"},
    ]
    theirs = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    ours = encoder.encode(encoder.template.render(turns)).ids
    if list(theirs) != ours:
        at = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
        message = f"transformers' tokenizer gives other ids than tokenizer.json, from token {at} of a test conversation on"
        fix = "save the tokenizer again with transformers 5: AutoTokenizer.from_pretrained(base).save_pretrained(base)"
        yield Finding(check="tokenizer", severity="block", message=message, fix=fix)
    else:
        yield Finding(check="tokenizer", severity="ok", message=f"serving sends the ids training saw ({len(ours)} compared)")
