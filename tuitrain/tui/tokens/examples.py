"""The examples of a fine-tuning run, each made visible when it is asked for: alone, in its sequence, beside what serving sends.

Views and comparisons are those of `tuitrain.data.inspect`, as plain data; nothing is drawn here. Must not import Textual.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tuitrain.data.batch import PADDING_DOCUMENT
from tuitrain.data.inspect.token_diff import diff_tokens
from tuitrain.data.inspect.token_view import view_tokens

if TYPE_CHECKING:
    from tuitrain.config.schema import Config
    from tuitrain.data.chat.examples import Item, Message
    from tuitrain.data.chat.loader import ExampleLoader
    from tuitrain.data.chat.preparation import PreparedExamples

MAX_TOKENS: Final = 16_384
"""Tokens shown of one example or sequence; longer ones say how many there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One thing to look at."""

    title: str
    note: str
    view: dict[str, Any]
    """`TokenView.to_dict()`."""
    learns: tuple[str | None, ...] = ()
    """Of a sequence, what the model learns to say after each token; None where nothing is learnt."""
    positions: tuple[int, ...] = ()
    """Of a sequence, the place of each token within its example."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """Serving beside training."""

    title: str
    diff: dict[str, Any] | None = None
    """`TokenDiff.to_dict()`."""
    reason: str = ""
    """Why there is none."""


@dataclass(kw_only=True)
class Examples:
    """What a run learns from."""

    prepared: PreparedExamples
    loader: ExampleLoader
    config: Config
    context: int
    """Longest sequence the base was made for."""
    changed: bool = False
    """Whether the examples are no longer those that the newest checkpoint was trained on."""

    @property
    def count(self) -> int:
        """Training examples; both answers of a pair count."""
        return len(self.prepared.train)

    @property
    def sequences(self) -> int:
        """Sequences of the first epoch."""
        return int(self.loader.sequences_per_epoch) if len(self.loader.usable) else 0

    @property
    def row_names(self) -> tuple[str, ...]:
        """What the rows of a sequence are, where it has more than one."""
        if not self.loader.shape.paired:
            return ()
        judged = bool((self.prepared.train.liked >= 0).any())
        return ("its own answer", "the answer to another prompt") if judged else ("the better answer", "the worse answer")

    def example(self, index: int) -> Shown:
        """One training example, whole."""
        train, encoder = self.prepared.train, self.prepared.encoder
        one = train[index]
        total, trained = len(one.ids), int(one.trained.sum())
        kept = self.loader.seq_len + 1
        view = view_tokens(
            one.ids[:MAX_TOKENS],
            one.trained[:MAX_TOKENS],
            self.prepared.encoder.decode_one,
            special_ids=encoder.special_ids,
            kept=kept,
        )
        notes = [self._role(index), f"{total:,} tokens, {trained:,} trained", self._left_out(index), _cut(total)]
        return Shown(title=one.where, note=", ".join(filter(None, notes)), view=view.to_dict())

    def sequence(self, number: int) -> Shown:
        """One sequence of the first epoch as the model reads it: several examples behind each other, padding at the end; the
        two answers of a pair are two rows."""
        batch, encoder = self.loader.batch(number, 1), self.prepared.encoder
        lengths = batch.lengths if batch.lengths is not None else np.full(len(batch.tokens), batch.tokens.shape[1])
        places = np.arange(batch.tokens.shape[1])
        inside = places[None, :] < lengths[:, None]
        documents = np.where(inside, 0 if batch.document_ids is None else batch.document_ids, PADDING_DOCUMENT)
        # A token is trained where it is its predecessor's target, and the predecessor is of the same example.
        follows = (documents[:, 1:] == documents[:, :-1]) & inside[:, 1:]
        trained = np.pad((batch.targets[:, :-1] >= 0) & follows, ((0, 0), (1, 0)))
        rows = np.repeat(np.arange(len(batch.tokens)), batch.tokens.shape[1])
        ids, flat = batch.tokens.reshape(-1)[:MAX_TOKENS], documents.reshape(-1)[:MAX_TOKENS]
        view = view_tokens(
            ids, trained.reshape(-1)[:MAX_TOKENS], self.prepared.encoder.decode_one, documents=flat,
            packs=rows[:MAX_TOKENS] if len(batch.tokens) > 1 else None, special_ids=encoder.special_ids,
        )  # fmt: skip
        held, targets = int(inside.sum()), batch.targets.reshape(-1)[:MAX_TOKENS].tolist()
        parts = int((documents.max(axis=1) + 1).sum())
        learnt = int((batch.targets >= 0).sum())
        what = f"{parts} example{'s' * (parts != 1)}, {held / inside.size:.0%} filled, {learnt:,} learnt"
        kind = "two rows of" if len(batch.tokens) > 1 else "packed to" if self.loader.shape.packing else "padded to"
        within = np.broadcast_to(places, documents.shape) if batch.position_ids is None else batch.position_ids
        return Shown(
            title=f"{kind} {batch.tokens.shape[1]:,} tokens",
            note=", ".join(filter(None, (what, _cut(inside.size)))), view=view.to_dict(),
            learns=tuple(self._text(each) if each >= 0 else None for each in targets),
            positions=tuple(within.reshape(-1)[:MAX_TOKENS].tolist()),
        )  # fmt: skip

    def serving(self, index: int) -> Compared:
        """The prompt of a training example as serving would send it, beside what training shows of it."""
        train, encoder = self.prepared.train, self.prepared.encoder
        where = train.where[index]
        item = self._items.get(where)
        if encoder.template is None:
            return Compared(title=where, reason="the base has no chat template: serving sends the prompt as it is")
        if item is None or item.raw:
            return Compared(title=where, reason="a prompt and its completion, without roles: no template is involved")
        served = encoder.encode(
            encoder.template.render([each.to_dict() for each in self._prompt(item, index)], add_generation_prompt=True)
        ).ids
        seen = train[index].ids[: int(train.prompts[index])].tolist()
        return Compared(title=where, diff=diff_tokens(served, seen, self.prepared.encoder.decode_one).to_dict())

    def find(self, wanted: str, after: int) -> int | None:
        """The next example, from `after` on and around, whose place or text holds `wanted`."""
        where, wanted = self.prepared.train.where, wanted.casefold()
        for index in itertools.chain(range(after + 1, self.count), range(after + 1)):
            if wanted in where[index].casefold() or wanted in self._texts.get(where[index], ""):
                return index
        return None

    @cached_property
    def report(self) -> dict[str, Any]:
        """What there is to say about all of them. Takes seconds, and minutes for very many: for a thread."""
        from tuitrain.data.inspect.build import build_report

        return build_report(self.prepared, self.loader, self.config, context=self.context)

    def page(self, first: int) -> str:
        """The report as HTML, with the example looked at among those it shows. For a thread."""
        from tuitrain.data.inspect.html import to_html

        report = self.report
        if len(report["examples"]) <= first < self.count:
            now = self.example(first)
            shown = [{"where": now.title, "note": now.note, "view": now.view}, *report["examples"]]
            report = report | {"examples": shown}
        return to_html(report)

    # --- what is known of an example ----------------------------------------------------------------------------------

    def _role(self, index: int) -> str:
        """Which answer of a pair it is, or how it was judged."""
        liked = int(self.prepared.train.liked[index])
        if liked >= 0:
            own = "with its own answer" if index % 2 == 0 else "with the answer to another prompt, for comparison"
            return f"{'liked' if liked else 'disliked'}, {own}"
        if self.loader.shape.paired:
            return f"pair {index // 2 + 1:,}, the {'worse' if index % 2 else 'better'} answer"
        return ""

    def _left_out(self, index: int) -> str:
        """Why it is no part of the training; empty when it is."""
        unit = index - index % self.loader.rows_per_sequence
        if unit in self._usable:
            return ""
        train = self.prepared.train
        if not int(train.trained_counts[index]):
            return "left out: nothing of it would be trained"
        if int(train.lengths[index]) - 1 > self.loader.seq_len:
            return f"left out: longer than train.seq_len {self.loader.seq_len:,}"
        return "left out: the other answer of its pair is"

    def _prompt(self, item: Item, index: int) -> list[Message]:
        """The turns before the answer that this row trains. Of a conversation that was split there is a row for each answer."""
        from tuitrain.data.chat.examples import Example
        from tuitrain.data.chat.preparation import prompt_of

        if isinstance(item, Example):
            answers = [place for place, each in enumerate(item.messages) if each.role == "assistant"]
            where = self.prepared.train.where
            before = sum(1 for _ in itertools.takewhile(lambda at: where[at] == where[index], range(index - 1, -1, -1)))
            behind = sum(1 for _ in itertools.takewhile(lambda at: where[at] == where[index], range(index + 1, self.count)))
            if before + behind + 1 == len(answers):
                return list(item.messages[: answers[before]])
        return list(prompt_of(item))

    @cached_property
    def _usable(self) -> frozenset[int]:
        return frozenset(self.loader.usable.tolist())

    @cached_property
    def _items(self) -> dict[str, Item]:
        """Training items by their places."""
        prepared = self.prepared
        return {item.where: item for item, held in zip(prepared.items, prepared.held_out, strict=True) if not held}

    @cached_property
    def _texts(self) -> dict[str, str]:
        from tuitrain.data.inspect.build import text_of

        return {where: text_of(item).casefold() for where, item in self._items.items()}

    # --- text of tokens -----------------------------------------------------------------------------------------------

    def _text(self, number: int) -> str:
        """One token by itself, in one line."""
        from tuitrain.data.inspect.visible import visible_pieces

        return visible_pieces([self.prepared.encoder.decode_one(number) or f"<{number}>"], lines=False)[0]


def _cut(total: int) -> str:
    return f"the first {MAX_TOKENS:,} shown" if total > MAX_TOKENS else ""
