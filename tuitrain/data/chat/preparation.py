"""From configured sources to tokenised examples: read, split, mask, keep. What was found wrong on the way is kept beside.

    <cache>/examples/<key>/{train,validation}/   arrays; the key is content, tokenizer, template and stage, never a weight

A share of the examples is held out by a hash of the prompt: the same question never stands on both sides.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuitrain.config.schema import DataSection
from tuitrain.data.chat.encoder import ChatEncoder
from tuitrain.data.chat.examples import Example, Item, Judged, Message, Preference
from tuitrain.data.chat.findings import FindingCounter
from tuitrain.data.chat.masks import Masked, mask_chat, mask_completion, mask_raw
from tuitrain.data.chat.read import ReadSummary, read_items
from tuitrain.data.chat.tokenized import SetBuilder, TokenizedSet, open_set
from tuitrain.data.disk import disk_errors
from tuitrain.data.progress import Listener, Progress
from tuitrain.data.records import BadRow, Document, bad_row_error
from tuitrain.data.split import is_held_out
from tuitrain.errors import DataError
from tuitrain.files import exclusive_lock, read_json, write_json

VERSION: Final = 3
QUESTIONS: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedExamples:
    """Both sides, the tokenizer, and what there is to say about them."""

    train: TokenizedSet
    validation: TokenizedSet
    train_weights: NDArray[np.float64]
    """Copies of each training example per epoch."""
    encoder: ChatEncoder
    counter: FindingCounter
    """Kinds of trouble over all examples."""
    summaries: tuple[ReadSummary, ...]
    content_hash: str
    items: tuple[Item, ...]
    held_out: tuple[bool, ...]
    """Of each item, whether it is held out."""
    questions: tuple[str, ...]
    """What is asked in the first held-out examples, as people would read it; one for each of the set's units."""


@dataclass(slots=True)
class _Read:
    """Items of all sources, and which source each is of."""

    items: list[Item] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    held_out: list[bool] = field(default_factory=list)
    summaries: list[ReadSummary] = field(default_factory=list)


def prepare_examples(
    data: DataSection, *, stage: str, judged: bool, base: Path, cache_dir: Path, progress: Listener
) -> PreparedExamples:
    """Everything the configuration names, tokenised. `judged`: single answers, liked or not (KTO), instead of pairs."""
    encoder = ChatEncoder(base, chat_template=data.chat_template)
    read = _read(data, progress)
    _check_kinds(read.items, stage)
    digest = hashlib.sha256(json.dumps([VERSION, stage, judged, encoder.content_hash, data.validation_frac]).encode())
    for item, source, held in zip(read.items, read.sources, read.held_out, strict=True):
        digest.update(f"{source}:{held}:{_canonical(item)}\n".encode("utf-8", "surrogatepass"))
    key = digest.hexdigest()
    folder = cache_dir / "examples" / key[:24]
    with disk_errors(cache_dir, lambda: 0):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder.with_name(f".{folder.name}.lock"), wait=True):
            opened = _open(folder, key)
            if opened is None:
                _tokenize(folder, key, read, encoder, judged=judged, progress=progress)
                opened = _open(folder, key)
    assert opened is not None, f"{folder} was just written"
    train, validation, facts = opened
    weights = np.array([source.weight for source in data.sources])[np.array(facts["train_sources"], np.int64)]
    counter = FindingCounter.from_dict(facts["findings"])
    return PreparedExamples(
        train=train, validation=validation, train_weights=weights, encoder=encoder, counter=counter,
        summaries=tuple(read.summaries), content_hash=key, items=tuple(read.items),
        held_out=tuple(read.held_out), questions=tuple(facts["questions"]),
    )  # fmt: skip


def _read(data: DataSection, progress: Listener) -> _Read:
    read = _Read()
    for number, source in enumerate(data.sources):
        progress(Progress(phase="scan", detail=str(source.path or source.dataset or source.corpus)))
        result = read_items(source, system_prompt=data.system_prompt, on_bad=_on_bad(data))
        for item in result:
            held = source.validation_path is None and _held_out(item, data.validation_frac)
            read.items.append(item)
            read.sources.append(number)
            read.held_out.append(held)
        read.summaries.append(result.summary)
        if source.validation_path is not None:
            other = source.model_copy(update={"path": source.validation_path, "corpus": None, "dataset": None, "limit": None})
            for item in read_items(other, system_prompt=data.system_prompt, on_bad=_on_bad(data)):
                read.items.append(item)
                read.sources.append(number)
                read.held_out.append(True)
    if not read.items:
        bad = [row for summary in read.summaries for row in summary.bad.named]
        why = f": {bad[0].where}: {bad[0].problem}" + f" (and {len(bad) - 1} more)" * (len(bad) > 1) if bad else ""
        raise DataError(
            f"the sources hold no example{why}", "mend the rows; data.sources.N.format and columns say how to read them"
        )
    if not any(read.held_out) and len(read.items) > 1:
        # Few examples: a share of them may be none. One is held out all the same, or nothing could be said about the rest.
        read.held_out[min(range(len(read.items)), key=lambda index: _split_hash(read.items[index]))] = True
    return read


def _on_bad(data: DataSection) -> Callable[[BadRow], None]:
    def raise_it(row: BadRow) -> None:
        raise bad_row_error(row)

    return raise_it if data.on_error == "fatal" else lambda row: None


def _check_kinds(items: Sequence[Item], stage: str) -> None:
    examples = sum(isinstance(item, Example) for item in items)
    if stage == "dpo" and examples:
        where = next(item.where for item in items if isinstance(item, Example))
        raise DataError(
            f"{examples} of {len(items)} rows are single conversations (the first: {where}); dpo learns from pairs of answers",
            "give rows with prompt, chosen and rejected; or run.stage=sft",
        )
    if stage == "sft" and examples < len(items):
        where = next(item.where for item in items if not isinstance(item, Example))
        raise DataError(
            f"{len(items) - examples} of {len(items)} rows are preferences (the first: {where}); sft learns from conversations",
            "run.stage=dpo",
        )


def prompt_of(item: Item) -> Sequence[Message]:
    """What comes before the first answer."""
    if isinstance(item, Example):
        first = next(index for index, each in enumerate(item.messages) if each.role == "assistant")
        return item.messages[:first]
    return item.prompt


def _split_key(item: Item) -> str:
    return json.dumps([each.content for each in prompt_of(item) if each.role != "system"], ensure_ascii=True)


def _split_hash(item: Item) -> str:
    return hashlib.sha256(_split_key(item).encode()).hexdigest()


def _held_out(item: Item, frac: float) -> bool:
    return is_held_out(Document(text="", where="", split_key=_split_key(item)), frac)


def _canonical(item: Item) -> str:
    fields: list[Any] = [type(item).__name__, item.raw]
    for name in ("messages", "prompt", "chosen", "rejected", "completion", "liked"):
        value = getattr(item, name, None)
        fields.append([each.to_dict() for each in value] if isinstance(value, tuple) else value)
    return json.dumps(fields, ensure_ascii=True)


def _tokenize(folder: Path, key: str, read: _Read, encoder: ChatEncoder, *, judged: bool, progress: Listener) -> None:
    sides = {True: SetBuilder(), False: SetBuilder()}
    counter, train_sources, questions = FindingCounter(), list[int](), list[str]()
    judged_of = {held: _Judged(side) for held, side in sides.items()}
    for done, (item, source, held) in enumerate(zip(read.items, read.sources, read.held_out, strict=True)):
        if done % 50 == 0:
            progress(_progress(done, len(read.items)))
        if judged:
            judged_of[held].add(item, source)
            continue
        try:
            rows = list(_masked(encoder, item))  # all of them, or none: of a pair one alone would shift every pair after it
        except DataError as error:  # the template's own refusal: told with the place
            counter.add(f"refused: {error.message}", item.where)
            continue
        for masked, liked in rows:
            sides[held].add(masked, item.where, liked=liked)
            for problem in masked.problems:
                counter.add(problem, item.where)
        if held:
            asked = [each.content for each in prompt_of(item) if each.role == "user"]
            questions += [asked[-1] if asked else ""] * len(rows)
        else:
            train_sources += [source] * len(rows)
    if judged:
        for held, each in judged_of.items():
            sources = each.tokenize(encoder, counter)
            train_sources += [] if held else sources
    shutil.rmtree(folder, ignore_errors=True)
    sides[False].save(folder / "train", key + ":train")
    sides[True].save(folder / "validation", key + ":validation")
    facts = {"key": key, "findings": counter.to_dict(), "train_sources": train_sources, "questions": questions[:QUESTIONS]}
    write_json(folder / "prepared.json", facts)
    progress(_progress(len(read.items), len(read.items)))


def _progress(done: int, total: int) -> Progress:
    return Progress(phase="tokenize", detail=f"{done} of {total} examples", bytes_done=done, bytes_total=total)


class _Judged:
    """Answers liked or not, each with a row that puts the next answer after its prompt: KTO's measure of how far the model has
    left the reference on answers that do not belong."""

    def __init__(self, side: SetBuilder) -> None:
        self._side, self._rows, self._sources = side, list[Judged](), list[int]()

    def add(self, item: Item, source: int) -> None:
        """Pairs are two judgements."""
        if isinstance(item, Preference):
            for answer, liked in ((item.chosen, True), (item.rejected, False)):
                self._rows.append(Judged(prompt=item.prompt, completion=answer, liked=liked, where=item.where, raw=item.raw))
                self._sources.append(source)
        elif isinstance(item, Judged):
            self._rows.append(item)
            self._sources.append(source)

    def tokenize(self, encoder: ChatEncoder, counter: FindingCounter) -> list[int]:
        """Returns the source of each row that was made, two for each judgement."""
        sources: list[int] = []
        for index, row in enumerate(self._rows):
            following = self._of_another_prompt(index)
            try:
                own = mask_completion(encoder, row.prompt, row.completion, raw=row.raw)
                strange = mask_completion(encoder, row.prompt, following.completion, raw=row.raw)
            except DataError as error:
                counter.add(f"refused: {error.message}", row.where)
                continue
            self._side.add(own, row.where, liked=int(row.liked))
            self._side.add(strange, row.where, liked=int(row.liked))
            sources += [self._sources[index]] * 2
            for problem in own.problems:
                counter.add(problem, row.where)
        return sources

    def _of_another_prompt(self, index: int) -> Judged:
        """The next row whose prompt differs: another answer to the same prompt would be no mismatch."""
        prompt, count = self._rows[index].prompt, len(self._rows)
        others = (self._rows[(index + step) % count] for step in range(1, count))
        return next((row for row in others if row.prompt != prompt), self._rows[index])


def _masked(encoder: ChatEncoder, item: Item) -> Iterator[tuple[Masked, int]]:
    """An example's rows; of a pair the better answer and then the worse."""
    if isinstance(item, Example):
        if item.raw or encoder.template is None:
            first, last = item.messages[0], item.messages[-1]
            masked = mask_raw(encoder, first.content, last.content)
            if not item.raw:
                masked.problems = (*masked.problems, "no-template")
            yield masked, -1
        else:
            yield from ((each, -1) for each in mask_chat(encoder, item.messages))
    elif isinstance(item, Preference):
        yield mask_completion(encoder, item.prompt, item.chosen, raw=item.raw), -1
        yield mask_completion(encoder, item.prompt, item.rejected, raw=item.raw), -1
    else:
        raise DataError(
            "judged answers, without rivals, are what kto learns from", "preference.loss=kto, or rows with chosen and rejected"
        )


def _open(folder: Path, key: str) -> tuple[TokenizedSet, TokenizedSet, dict[str, Any]] | None:
    facts = read_json(folder / "prepared.json")
    train, validation = open_set(folder / "train"), open_set(folder / "validation")
    if not isinstance(facts, dict) or facts.get("key") != key or train is None or validation is None:
        return None
    return train, validation, facts
