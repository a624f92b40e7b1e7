"""The masks once more, by another way than they were made: by text, and in the batches that training will read.

What is trained must hold every answer whole and no question, and begin where the prompt that serving sends ends. Off by one
token, a run learns all the same, and something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from tuitrain.data.chat.encoder import ChatEncoder
from tuitrain.data.chat.examples import Example, Item, Judged, Message
from tuitrain.data.chat.findings import Finding
from tuitrain.data.chat.loader import ExampleLoader
from tuitrain.data.chat.preparation import PreparedExamples

SAMPLED: Final = 64
"""Examples, and sequences, looked at."""
TELLING: Final = 8
"""Characters from which on a question that turns up among what is trained is no coincidence."""
_FIX: Final = (
    "this is a fault of tuitrain, or of the template's generation marks; `tuitrain data inspect` shows it, please report it"
)


def check_masks(prepared: PreparedExamples, loader: ExampleLoader) -> list[Finding]:
    """Blocks where examples or batches train something else than the answers."""
    return [*_batches(prepared, loader), *_examples(prepared)] if len(loader.usable) else []


def _batches(prepared: PreparedExamples, loader: ExampleLoader) -> Iterator[Finding]:
    """What a batch trains is what its examples train, whatever packed, padded and cut them."""
    count = min(SAMPLED, loader.sequences_per_epoch)
    batch = loader.batch(0, count)
    groups = [loader.examples_of(number) for number in range(count)]
    rows = [[each] for group in groups for each in group] if loader.shape.paired else groups
    wrong = []
    for targets, group in zip(batch.targets, rows, strict=True):
        want, room = [], loader.seq_len
        for index in group:
            example = prepared.train[index]
            ids, trained = example.ids[1 : room + 1], example.trained[1 : room + 1]
            want.append(ids[trained])
            room -= len(ids)
        if not np.array_equal(targets[targets >= 0], np.concatenate(want)):
            wrong.append(prepared.train.where[group[0]])
    if wrong:
        message = f"{len(wrong)} of the first {len(rows)} rows train other tokens than their examples do"
        yield Finding(
            check="mask", severity="block", message=message, fix=f"padding is masked by position, never by its id; {_FIX}",
            where=tuple(wrong[:5]), count=len(wrong),
        )  # fmt: skip


def _examples(prepared: PreparedExamples) -> Iterator[Finding]:
    items = {item.where: item for item in prepared.items}
    where = prepared.train.where
    chosen = np.unique(np.linspace(0, len(prepared.train) - 1, SAMPLED).astype(int)).tolist()
    problems = {
        index: problem
        for index in chosen
        if (item := items.get(where[index])) is not None and (problem := _problem(prepared, index, item))
    }
    if problems:
        why = Counter(problems.values()).most_common(1)[0][0]
        message = f"in {len(problems)} of {len(chosen)} examples looked at, {why}"
        places = tuple(where[index] for index in list(problems)[:5])
        yield Finding(check="mask", severity="block", message=message, fix=_FIX, where=places, count=len(problems))


def _problem(prepared: PreparedExamples, index: int, item: Item) -> str:
    """What is wrong with the mask of an example; empty where nothing is."""
    encoder, example = prepared.encoder, prepared.train[index]
    said, learnt = _learnt(prepared, index, item)
    if not learnt:
        return ""
    whole, trained = (_bare(encoder.decode(ids.tolist())) for ids in (example.ids, example.ids[example.trained]))
    # What a tokenizer cannot say again, or a template leaves out, is no matter of the mask.
    if any(answer in whole and answer not in trained for answer in (_answer(said[at]) for at in learnt)):
        return "not all of an answer is trained"
    told = "\0".join(_bare(turn.content) for turn in said if turn.role == "assistant")
    own = _bare(encoder.template.source) if encoder.template else ""
    for turn in said:
        text = _bare(turn.content)
        if turn.role != "assistant" and len(text) >= TELLING and text in trained and text not in told and text not in own:
            return f"text of the role {turn.role} is trained"
    served = _served(encoder, item, said, learnt)
    if served is not None and served != int(prepared.train.prompts[index]) and not prepared.counter.count("border"):
        return "training does not begin where serving's prompt ends"
    return ""


def _learnt(prepared: PreparedExamples, index: int, item: Item) -> tuple[Sequence[Message], list[int]]:
    """(the turns of row `index`, which of them must be trained); none where that cannot be told."""
    if not isinstance(item, Example):
        liked = int(prepared.train.liked[index])
        if liked >= 0 and index % 2:  # the odd rows of judged answers hold another's
            return (), []
        if isinstance(item, Judged):
            answer = item.completion
        else:
            answer = item.chosen if liked == 1 or (liked < 0 and index % 2 == 0) else item.rejected
        said = (*item.prompt, *answer)
        return said, [len(said) - 1]
    answers = [at for at, turn in enumerate(item.messages) if turn.role == "assistant"]
    first = last = index
    while first > 0 and prepared.train.where[first - 1] == item.where:
        first -= 1
    while last + 1 < len(prepared.train) and prepared.train.where[last + 1] == item.where:
        last += 1
    if first == last:
        return item.messages, answers
    if last - first + 1 != len(answers):
        return item.messages, []
    at = answers[index - first]  # one example per answer
    return item.messages[: at + 1], [at]


def _served(encoder: ChatEncoder, item: Item, said: Sequence[Message], learnt: Sequence[int]) -> int | None:
    """Tokens of the prompt before the first answer that is learnt; None where that is not what decides."""
    if item.raw or encoder.template is None:
        return None
    if isinstance(item, Example):
        if encoder.template.has_marks:
            return None
    elif len(said) - len(item.prompt) > 1:  # of several turns more than the last one may be trained
        return None
    prompt = encoder.template.render([each.to_dict() for each in said[: learnt[0]]], add_generation_prompt=True)
    return len(encoder.encode(prompt).ids)


def _answer(turn: Message) -> str:
    """An answer without its thought, which templates write in ways of their own."""
    return _bare(turn.content.rpartition("</think>")[2])


def _bare(text: str) -> str:
    """Without white space: templates trim, and decoders put some beside special tokens."""
    return "".join(text.split())
