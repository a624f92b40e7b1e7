"""Everything `data inspect` says about fine-tuning data, as one plain report (schema: `html`). Must not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tuitrain.config.schema import Config
from tuitrain.data.chat.checks import check_examples
from tuitrain.data.chat.examples import Example, Item, Judged, Message
from tuitrain.data.chat.loader import ExampleLoader
from tuitrain.data.chat.preparation import PreparedExamples, prompt_of
from tuitrain.data.inspect.contamination import find_contamination
from tuitrain.data.inspect.duplicates import find_duplicates
from tuitrain.data.inspect.languages import count_languages
from tuitrain.data.inspect.lengths import measure_lengths
from tuitrain.data.inspect.token_diff import diff_tokens
from tuitrain.data.inspect.token_view import view_tokens

SHOWN = 5
"""Examples whose every token is shown, unless asked otherwise."""


def build_report(
    prepared: PreparedExamples,
    loader: ExampleLoader,
    config: Config,
    *,
    context: int,
    evaluation: Sequence[tuple[str, str]] = (),
    shown: int = SHOWN,
) -> dict[str, Any]:
    """The report. `evaluation`: (where, text) to compare the training text with; without any, the held-out examples are."""
    items, train = prepared.items, prepared.train
    texts = [text_of(item) for item in items]
    training = [(item.where, text) for item, text, held in zip(items, texts, prepared.held_out, strict=True) if not held]
    held = [(item.where, text) for item, text, out in zip(items, texts, prepared.held_out, strict=True) if out]
    findings = check_examples(prepared, loader, config, context=context)
    return {
        "title": f"{config.run.stage} data: {len(items)} examples",
        "facts": _facts(prepared, loader, config),
        "findings": [each.to_dict() for each in findings],
        "lengths": measure_lengths(
            train.lengths, train.trained_counts, [_roles(item) for item in items], limit=loader.seq_len + 1
        ).to_dict(),
        "languages": count_languages(texts).to_dict(),
        "duplicates": find_duplicates(texts, [item.where for item in items]).to_dict(),
        "contamination": {
            **find_contamination(training, evaluation or held).to_dict(),
            "against": "the files given" if evaluation else "the held-out examples",
        },
        "bad_rows": [summary.bad.to_json() | {"source": summary.name} for summary in prepared.summaries],
        "examples": [_example(prepared, loader, index) for index in range(min(shown, len(train)))],
        "packed": _packed(prepared, loader) if loader.shape.packing and len(loader.usable) else None,
        "serving": _serving(prepared),
    }


def text_of(item: Item) -> str:
    """All that is said in an example, but not by the system: shared instructions are no duplicates."""
    if isinstance(item, Example):
        turns: Iterable[Message] = item.messages
    elif isinstance(item, Judged):
        turns = (*item.prompt, *item.completion)
    else:
        turns = (*item.prompt, *item.chosen, *item.rejected)
    return "\n".join(each.content for each in turns if each.role != "system")


def _facts(prepared: PreparedExamples, loader: ExampleLoader, config: Config) -> list[list[Any]]:
    facts: list[list[Any]] = []
    for summary in prepared.summaries:
        facts.append([summary.name, summary.format])
        bad = f"; {summary.bad.summary()}" if summary.bad.total else ""
        facts.append(["", f"{summary.items} examples of {summary.rows} rows{bad}"])
    template = prepared.encoder.template
    facts.append(["base", str(config.model.base)])
    facts.append(["chat template", template.origin if template else "none"])
    facts.append(["training", len(loader.usable)])
    facts.append(["held out", len(loader.held_out)])
    if len(loader.usable):
        sequences = int(loader.sequences_per_epoch)
        tokens = int(np.minimum(prepared.train.lengths[loader.usable] - 1, loader.seq_len).sum())
        if loader.shape.packing:
            filled = tokens / (sequences * loader.seq_len)
            facts.append(["packing", f"{sequences} sequences of {loader.seq_len} tokens per epoch, {filled:.0%} filled"])
        else:
            facts.append(["sequences per epoch", sequences])
    return facts


def _roles(item: Item) -> list[str]:
    turns = item.messages if isinstance(item, Example) else prompt_of(item)
    return [each.role for each in turns]


def _example(prepared: PreparedExamples, loader: ExampleLoader, index: int) -> dict[str, Any]:
    example, encoder = prepared.train[index], prepared.encoder
    view = view_tokens(
        example.ids, example.trained, encoder.decode_one, special_ids=encoder.special_ids, kept=loader.seq_len + 1
    )
    trained = int(example.trained.sum())
    return {"where": example.where, "note": f"{len(example.ids)} tokens, {trained} trained", "view": view.to_dict()}


def _packed(prepared: PreparedExamples, loader: ExampleLoader) -> dict[str, Any]:
    """The first training sequence as the model sees it."""
    batch, encoder = loader.batch(0, 1), prepared.encoder
    assert batch.document_ids is not None, "packed rows know their documents"
    # A token is trained where it is the target of its predecessor in the same example.
    documents = batch.document_ids[0]
    trained = np.concatenate([[False], (batch.targets[0, :-1] >= 0) & (documents[:-1] == documents[1:])])
    view = view_tokens(
        batch.tokens[0], trained, encoder.decode_one, documents=batch.document_ids[0], special_ids=encoder.special_ids
    )
    count = int(batch.document_ids[0].max()) + 1
    return {"where": "sequence 0", "note": f"{count} examples in {loader.seq_len} tokens", "view": view.to_dict()}


def _serving(prepared: PreparedExamples) -> dict[str, Any] | None:
    """What serving would send for the first example, against what training saw of it."""
    encoder = prepared.encoder
    item = next((each for each, held in zip(prepared.items, prepared.held_out, strict=True) if not held), None)
    if encoder.template is None or item is None or item.raw or not len(prepared.train):
        return None
    turns = [each.to_dict() for each in prompt_of(item)]
    served = encoder.encode(encoder.template.render(turns, add_generation_prompt=True)).ids
    seen = prepared.train[0].ids[: int(prepared.train.prompts[0])].tolist()
    return {
        "where": item.where, "note": "the prompt of the first example",
        "diff": diff_tokens(served, seen, encoder.decode_one).to_dict(),
    }  # fmt: skip
