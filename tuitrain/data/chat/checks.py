"""Checks of examples against lengths, and of the batches made of them: everything that data and tokenizer alone can tell.

Must not import torch: `tuitrain data inspect` shows the same findings as the flight check before a run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tuitrain.config.schema import Config
from tuitrain.data.chat.encoder import ChatEncoder
from tuitrain.data.chat.findings import Finding
from tuitrain.data.chat.loader import ExampleLoader
from tuitrain.data.chat.mask_findings import mask_findings
from tuitrain.data.chat.preparation import PreparedExamples

SAMPLED = 64
"""Examples of which batches are looked at, token by token."""


def check_examples(prepared: PreparedExamples, loader: ExampleLoader, config: Config, *, context: int) -> list[Finding]:
    """Everything that data and tokenizer alone can tell."""
    findings = mask_findings(prepared)
    findings += _lengths(prepared, config, context)
    findings += _sides(prepared, loader)
    findings += _batches(prepared, loader)
    findings += _special_text(prepared)
    return findings


def _lengths(prepared: PreparedExamples, config: Config, context: int) -> Iterator[Finding]:
    seq_len = config.train.seq_len
    assert isinstance(seq_len, int), "settled before the check"
    if seq_len > context:
        message = f"train.seq_len {seq_len} exceeds the {context} positions the base was made for"
        yield Finding(check="length", severity="block", message=message, fix=f"train.seq_len={context}")
    lengths = np.concatenate([prepared.train.lengths, prepared.validation.lengths]) - 1
    prompts = np.concatenate([prepared.train.prompts, prepared.validation.prompts])
    where = [*prepared.train.where, *prepared.validation.where]
    long = np.flatnonzero(lengths > seq_len)
    longest = int(lengths.max(initial=0))
    if not len(long):
        yield Finding(check="length", severity="ok", message=f"the longest example has {longest} tokens of {seq_len}")
        return
    places, policy = tuple(where[index] for index in long[:5]), config.data.too_long
    eaten = int((prompts[long] >= seq_len).sum())
    facts = f"{len(long)} of {len(lengths)} examples are longer than train.seq_len {seq_len} (the longest: {longest})"
    if policy == "stop":
        ate = (
            f"; cutting them would take the whole answer of {eaten}"
            if eaten
            else "; cutting them would take their answers' ends"
        )
        wider = f"train.seq_len={min(context, -(-longest // 64) * 64)}, or " if longest <= context else ""
        fix = f"{wider}data.too_long=drop leaves them out, data.too_long=truncate cuts what can be cut"
        yield Finding(check="truncation", severity="block", message=facts + ate, fix=fix, where=places, count=len(long))
    elif policy == "drop":
        yield Finding(check="truncation", severity="warn", message=f"{facts}: left out", where=places, count=len(long))
    else:
        message = f"{facts}: cut at the end, and {eaten} left out because nothing of the answer would be left"
        yield Finding(check="truncation", severity="warn", message=message, where=places, count=len(long))


def _sides(prepared: PreparedExamples, loader: ExampleLoader) -> Iterator[Finding]:
    if not len(loader.usable):
        message = f"of {len(prepared.train)} training examples none can be trained on"
        yield Finding(check="data", severity="block", message=message, fix="see the other findings; `tuitrain data inspect`")
    elif not len(loader.held_out):
        message = "no example is held out, so nothing says whether the model learns or recites"
        yield Finding(check="data", severity="warn", message=message, fix="more examples, or data.sources.0.validation_path")
    else:
        message = f"{len(loader.usable)} examples to train on, {len(loader.held_out)} held out"
        if loader.shape.paired:
            message = message.replace("examples", "pairs")
        yield Finding(check="data", severity="ok", message=message)


def _batches(prepared: PreparedExamples, loader: ExampleLoader) -> Iterator[Finding]:
    """The tensors training will see: ends that are trained in the example must be trained in its batch, whatever padded it."""
    if not len(loader.usable):
        return
    ends, encoder = 0, prepared.encoder
    count = min(SAMPLED, max(1, int(loader.sequences_per_epoch)))
    batch = loader.batch(0, count)
    targets = batch.targets[batch.targets >= 0]
    ends = int(np.isin(targets, sorted(encoder.end_ids)).sum())
    if not len(targets):
        message = f"the first {count} sequences hold no trained token"
        yield Finding(check="mask", severity="block", message=message, fix="`tuitrain data inspect` shows every token's part")
    elif not ends:
        message = (
            f"of {len(targets)} trained tokens in the first {count} sequences none ends an answer: the model would never stop"
        )
        fix = "padding must be masked by position, never by its id; data.chat_template=chatml if the template has no end"
        yield Finding(check="end token", severity="block", message=message, fix=fix)
    wrong = (batch.tokens[:, 1:] != batch.targets[:, :-1]) & (batch.targets[:, :-1] >= 0)
    if batch.lengths is not None:  # what the last token of a row predicts is in no row
        wrong &= np.arange(1, batch.tokens.shape[1]) < batch.lengths[:, None]
    if batch.document_ids is not None:
        wrong &= batch.document_ids[:, 1:] == batch.document_ids[:, :-1]
    if loader.shape.truncate is False and wrong.any():
        rows = int(wrong.any(axis=1).sum())
        message = f"in {rows} of {len(batch.tokens)} rows a target is not the token that follows: the mask is shifted"
        yield Finding(check="mask", severity="block", message=message, fix="this is a fault of tuitrain; please report it")


def _special_text(prepared: PreparedExamples) -> Iterator[Finding]:
    """Text that spells a special token becomes one, in training as in serving."""
    encoder = prepared.encoder
    if encoder.template is None:
        return
    inside = [
        prepared.train.where[index]
        for index in range(min(len(prepared.train), 2000))
        if _repeats_an_end(encoder, prepared, index)
    ]
    if inside:
        message = f"{len(inside)} examples spell an end token inside an answer: the model would learn to stop there"
        yield Finding(
            check="special tokens", severity="warn", message=message, where=tuple(inside[:5]), count=len(inside),
            fix="take such text out of the answers",
        )  # fmt: skip


def _repeats_an_end(encoder: ChatEncoder, prepared: PreparedExamples, index: int) -> bool:
    example = prepared.train[index]
    ends = np.isin(example.ids, sorted(encoder.end_ids)) & example.trained
    at = np.flatnonzero(ends)
    # An end that a trained word follows is not the end of its answer (another end may: `<|end|>` and then eos).
    followed = [place for place in at if place + 1 < len(ends) and example.trained[place + 1] and not ends[place + 1]]
    following = [int(example.ids[place + 1]) for place in followed]
    return any(encoder.decode([number]).strip() for number in following if number not in encoder.special_ids)
