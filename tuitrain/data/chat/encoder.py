"""The tokenizer of a chat model: special tokens in a rendered template are special tokens, unlike in plain text.

Ids are those of the folder's tokenizer.json. That transformers' AutoTokenizer gives the same is compared in the flight check,
on the run's own examples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.chat.template import ChatTemplate, load_template, special_tokens
from tuitrain.data.codec import panics_as_errors
from tuitrain.data.extras import load_extra
from tuitrain.data.tokenizer import Tokenizer
from tuitrain.errors import DataError
from tuitrain.files import read_json


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids of a text, and where in it each begins and ends (characters)."""

    ids: list[int]
    spans: list[tuple[int, int]]


class ChatEncoder:
    """Tokenizer, template and the ids that end an answer, of one model folder."""

    def __init__(self, folder: Path, *, chat_template: str | None = None) -> None:
        tokenizers = load_extra("tokenizers", "reading a tokenizer.json")
        self.folder = folder
        try:
            text = (folder / "tokenizer.json").read_text(encoding="utf-8")
            with panics_as_errors():
                self._tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception for every kind of broken file
            raise DataError(f"{folder / 'tokenizer.json'} cannot be read: {error}", "save the tokenizer again") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special = special_tokens(folder)
        self.template: ChatTemplate | None = load_template(folder, chat_template)
        self.bos_id = self._id("bos_token")
        self.eos_id = self._id("eos_token")
        self.pad_id = self._id("pad_token")
        self.special_ids = frozenset(
            int(number) for number, token in self._tokenizer.get_added_tokens_decoder().items() if token.special
        )
        template = self.template.source if self.template else ""
        told = f"{text}\0{template}\0{sorted(self.special.items())}\0{sorted(self.end_ids)}"
        self.content_hash = hashlib.sha256(told.encode()).hexdigest()

    @property
    def vocab_size(self) -> int:
        """Ids are below it."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Ids at which generation stops: of generation_config.json, else of config.json, and the tokenizer's eos."""
        found: set[int] = set() if self.eos_id is None else {self.eos_id}
        for name in ("generation_config.json", "config.json"):
            value = (read_json(self.folder / name) or {}).get("eos_token_id")
            if value is not None:  # transformers looks no further either; config.json often holds its class's default
                return frozenset(found | (set(value) if isinstance(value, list) else {int(value)}))
        return frozenset(found)

    def encode(self, text: str) -> Encoded:
        """A rendered template: nothing is added, special tokens in it count as such."""
        with panics_as_errors():
            done = self._tokenizer.encode(text, add_special_tokens=False)
        return Encoded(done.ids, done.offsets)

    def encode_start(self, text: str) -> list[int]:
        """A text that begins a sequence without a template: with whatever the tokenizer puts before every text (a BOS)."""
        with panics_as_errors():
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=True).ids
        while ids and ids[-1] == self.eos_id:  # some put an end behind every text too; the answer is still to come
            ids = ids[:-1]
        return ids

    def token(self, number: int) -> str:
        """A special token's name, or the raw token of the vocabulary."""
        return str(self._tokenizer.id_to_token(number) or "")

    def decode(self, ids: list[int]) -> str:
        """The text, special tokens shown."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    @cached_property
    def _bytes(self) -> list[bytes]:
        """The bytes of each id; empty where the tokenizer's decoder does not tell."""
        try:
            return Tokenizer.from_file(self.folder).byte_table()
        except DataError:
            return []

    def decode_one(self, number: int) -> bytes | str:
        """One id as bytes where they are known, so that characters split over tokens can be put together; a special token's
        name."""
        if number in self.special_ids or number >= len(self._bytes):
            return self.token(number)
        return self._bytes[number] or self.decode([number])

    def token_bytes(self) -> NDArray[np.int32]:
        """UTF-8 bytes each id stands for; zeros where the tokenizer's decoder does not tell."""
        try:
            table = Tokenizer.from_file(self.folder).token_bytes()
        except DataError:
            return np.zeros(self.vocab_size, np.int32)
        return np.pad(table, (0, max(0, self.vocab_size - len(table))))

    def _id(self, name: str) -> int | None:
        token = self.special.get(name)
        found: Any = None if token is None else self._tokenizer.token_to_id(token)
        return None if found is None else int(found)
