"""Checks of examples before the model is loaded: those of `data.chat.checks`, and that serving sends what training saw."""

from __future__ import annotations

from collections.abc import Iterator

from tuitrain.config.schema import Config
from tuitrain.data.chat.checks import check_examples
from tuitrain.data.chat.findings import Finding
from tuitrain.data.chat.loader import ExampleLoader
from tuitrain.data.chat.preparation import PreparedExamples
from tuitrain.trainer.flight.mask_checks import check_masks

OWN = 8
"""Of the run's own examples, how many are tokenised again."""
TURNS = (
    {"role": "user", "content": "Say 3 things: a b\n\n  c, e.g. don't."},
    {"role": "assistant", "content": "One. 2!\n\nThree"},
)


def check_data(prepared: PreparedExamples, loader: ExampleLoader, config: Config, *, context: int) -> list[Finding]:
    """Everything that can be told without the model."""
    findings = check_examples(prepared, loader, config, context=context)
    if not any(each.severity == "block" for each in findings):  # which tell it better
        findings += check_masks(prepared, loader)
    findings += _same_as_serving(prepared, config)
    return findings


def _same_as_serving(prepared: PreparedExamples, config: Config) -> Iterator[Finding]:
    """transformers, which serves, must give the ids that training saw: of a conversation made to tell tokenizers apart, of the
    run's own examples, and of prompts without a template with whatever is put before them."""
    from transformers import AutoTokenizer

    encoder, template = prepared.encoder, prepared.encoder.template
    tokenizer = AutoTokenizer.from_pretrained(encoder.folder, trust_remote_code=config.model.trust_remote_code)
    compared: list[tuple[str, list[int], list[int]]] = []
    if template is not None:
        tokenizer.chat_template = template.source
        ours = encoder.encode(template.render(TURNS)).ids
        theirs = tokenizer.apply_chat_template(list(TURNS), tokenize=True, return_dict=False)
        compared.append(("a test conversation", ours, list(theirs)))
    if any(item.raw for item in prepared.items):
        text = TURNS[0]["content"]
        theirs = list(tokenizer(text)["input_ids"])
        while theirs and theirs[-1] == encoder.eos_id:
            theirs.pop()
        compared.append(("a test prompt", encoder.encode_start(text), theirs))
    for index in range(min(OWN, len(prepared.train))):
        text = encoder.decode(prepared.train[index].ids.tolist())
        theirs = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        compared.append((prepared.train.where[index], encoder.encode(text).ids, theirs))
    for what, ours, theirs in compared:
        if ours != theirs:
            at = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
            message = f"transformers' tokenizer gives other ids than tokenizer.json, from token {at} of {what} on"
            fix = "save the tokenizer again with transformers 5: AutoTokenizer.from_pretrained(base).save_pretrained(base)"
            yield Finding(check="tokenizer", severity="block", message=message, fix=fix)
            return
    count = sum(len(ours) for _, ours, _ in compared)
    yield Finding(check="tokenizer", severity="ok", message=f"serving sends the ids training saw ({count} compared)")
