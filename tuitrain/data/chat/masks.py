"""Which tokens of an example are trained: the assistant's answers with the token that ends them, and nothing else.

Two ways:

    marks       the template says it, by {% generation %}
    prefix      an answer is what follows when the prompt before it was rendered as serving renders it: everything between
                render(messages before it, add_generation_prompt) and the end of render(messages up to it)

The second needs a template whose rendering of a beginning is a beginning of its rendering of the whole. Where it rewrites
earlier turns (Qwen3 takes the thoughts of past answers out), each answer becomes an example of its own, with the prompt that
serving would send. Where not even the last answer follows its own prompt, training and serving differ: a finding that blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuitrain.data.chat.encoder import ChatEncoder, Encoded
from tuitrain.data.chat.examples import Message
from tuitrain.data.chat.template import ChatTemplate

Turns = Sequence[dict[str, str]]


@dataclass(slots=True)
class Masked:
    """A tokenised example. `problems` are kinds of `findings_of_masks`."""

    ids: list[int]
    trained: list[bool]
    prompt_tokens: int
    """Tokens before the first trained one."""
    problems: tuple[str, ...] = ()


def mask_chat(encoder: ChatEncoder, messages: Sequence[Message]) -> list[Masked]:
    """One conversation as one example, or as one per answer."""
    template = encoder.template
    assert template is not None, "without a template there is no chat"
    turns = [each.to_dict() for each in messages]
    answers = [index for index, turn in enumerate(turns) if turn["role"] == "assistant"]
    if template.has_marks:
        text, spans = template.render_marked(turns)
        masked = _masked(encoder, text, spans, _prompt_of_first(template, turns))
        if any(masked.trained) and _hidden([turns[index] for index in answers], text, spans):
            masked.problems = (*masked.problems, "hidden")
        return [masked]
    text = template.render(turns)
    spans = []
    for index in answers:
        span = _span(encoder, template, turns, index, text)
        if span is None:
            break
        spans.append(span)
    else:
        return [_masked(encoder, text, spans, _prompt_of_first(template, turns))]
    return [_answer_alone(encoder, template, turns[: index + 1], split=len(answers) > 1) for index in answers]


def mask_raw(encoder: ChatEncoder, prompt: str, completion: str) -> Masked:
    """A prompt and its completion without a template. Each is tokenised by itself, so no token reaches over the border."""
    before, after = encoder.encode_start(prompt), encoder.encode(completion).ids
    problems = []
    if encoder.eos_id is None:
        problems.append("no-end")
    elif not after or after[-1] != encoder.eos_id:
        after = [*after, encoder.eos_id]
    if _doubled_bos(encoder, before):
        problems.append("double-bos")
    ids = before + after
    trained = [False] * len(before) + [True] * len(after)
    return Masked(ids=ids, trained=trained, prompt_tokens=len(before), problems=tuple(problems))


def _span(encoder: ChatEncoder, template: ChatTemplate, turns: Turns, index: int, text: str) -> tuple[int, int] | None:
    """Characters of the answer at `index` within the whole text; None where the template rewrites the answer or what comes
    before it."""
    before = template.render(turns[:index], add_generation_prompt=True)
    upto = text if index == len(turns) - 1 else template.render(turns[: index + 1])
    if not text.startswith(before):
        return None
    # What ends a conversation may not stand in its middle: Phi-3 puts an eos behind the last answer, gpt-oss ends it by
    # another token than those before.
    end = len(upto) if text.startswith(upto) else _common(encoder, text, upto, after=len(before))
    if end <= len(before) or turns[index]["content"].strip() not in text[len(before) : end]:
        return None
    return len(before), end


def _common(encoder: ChatEncoder, text: str, upto: str, *, after: int) -> int:
    """Characters of the whole tokens both texts begin with; 0 where only `upto` ends the answer that begins at `after`."""
    first, second = encoder.encode(text), encoder.encode(upto)
    count = next(
        (at for at, (a, b) in enumerate(zip(first.ids, second.ids, strict=False)) if a != b),
        min(len(first.ids), len(second.ids)),
    )
    ends = [at for at, number in enumerate(second.ids) if number in encoder.end_ids and second.spans[at][0] >= after]
    if count == 0 or (ends and ends[0] >= count):
        return 0
    return second.spans[count - 1][1]


def _hidden(answers: Turns, text: str, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether an answer is not in what is trained. Its last line must be: templates take thoughts out and trim, no more."""
    shown = "".join(text[begin:end] for begin, end in spans)
    ends = (turn["content"].rpartition("</think>")[2].strip().rpartition("\n")[2].strip() for turn in answers)
    return any(end not in shown for end in ends)


def _answer_alone(encoder: ChatEncoder, template: ChatTemplate, turns: Turns, *, split: bool) -> Masked:
    """The last answer, after the prompt as serving would send it."""
    text, before = template.render(turns), template.render(turns[:-1], add_generation_prompt=True)
    if not text.startswith(before):
        whole = _masked(encoder, text, [], before)
        whole.problems = (*(each for each in whole.problems if each != "nothing-trained"), "not-prefix")
        return whole
    spans = [(len(before), len(text))]
    masked = _masked(encoder, text, spans, before)
    if any(masked.trained) and _hidden(turns[-1:], text, spans):
        masked.problems = (*masked.problems, "hidden")
    if split:
        masked.problems = (*masked.problems, "split")
    return masked


def _masked(encoder: ChatEncoder, text: str, spans: Sequence[tuple[int, int]], serving_prompt: str) -> Masked:
    encoded = encoder.encode(text)
    trained = _within(encoded, spans)
    problems = []
    if not any(trained):
        problems.append("nothing-trained")
    elif not _ends_are_trained(encoder, encoded, trained):
        problems.append("end-not-trained")
    if _doubled_bos(encoder, encoded.ids):
        problems.append("double-bos")
    served = encoder.encode(serving_prompt).ids
    if spans and encoded.ids[: len(served)] != served:
        problems.append("border" if text.startswith(serving_prompt) else "not-prefix")
    first = next((index for index, each in enumerate(trained) if each), len(trained))
    return Masked(ids=encoded.ids, trained=trained, prompt_tokens=first, problems=tuple(problems))


def _within(encoded: Encoded, spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Tokens that lie within a span. One that began before it is serving's: it is not trained."""
    trained, waiting = [False] * len(encoded.ids), list(spans)
    for index, (begin, end) in enumerate(encoded.spans):
        while waiting and begin >= waiting[0][1]:
            waiting.pop(0)
        if waiting and begin >= waiting[0][0] and end <= waiting[0][1]:
            trained[index] = True
    return trained


def _ends_are_trained(encoder: ChatEncoder, encoded: Encoded, trained: Sequence[bool]) -> bool:
    """Whether each run of trained tokens holds a token at which generation stops."""
    run_has_end, in_run = False, False
    for number, each in zip([*encoded.ids, -1], [*trained, False], strict=True):
        if each:
            in_run, run_has_end = True, run_has_end or number in encoder.end_ids
        elif in_run:
            if not run_has_end:
                return False
            in_run = run_has_end = False
    return True


def _doubled_bos(encoder: ChatEncoder, ids: Sequence[int]) -> bool:
    return encoder.bos_id is not None and list(ids[:2]) == [encoder.bos_id] * 2


def _prompt_of_first(template: ChatTemplate, turns: Turns) -> str:
    first = next(index for index, turn in enumerate(turns) if turn["role"] == "assistant")
    return template.render(turns[:first], add_generation_prompt=True)


def mask_completion(encoder: ChatEncoder, prompt: Sequence[Message], completion: Sequence[Message], *, raw: bool) -> Masked:
    """An answer to a prompt, for preference tuning: of several turns only those of the completion are trained."""
    if raw or encoder.template is None:
        masked = mask_raw(encoder, prompt[-1].content if prompt else "", completion[-1].content)
        if not raw:
            masked.problems = (*masked.problems, "no-template")
        return masked
    turns = [each.to_dict() for each in (*prompt, *completion)]
    if len(completion) == 1:
        return _answer_alone(encoder, encoder.template, turns, split=False)
    masked = mask_chat(encoder, [*prompt, *completion])[-1]
    served = len(encoder.encode(encoder.template.render(turns[: len(prompt)], add_generation_prompt=True)).ids)
    masked.trained = [each and at >= served for at, each in enumerate(masked.trained)]
    masked.prompt_tokens = next((at for at, each in enumerate(masked.trained) if each), len(masked.trained))
    return masked
