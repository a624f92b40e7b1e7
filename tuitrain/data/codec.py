"""Text to ids, by tiktoken or by Hugging Face's `tokenizers`. Both see special tokens in a text as ordinary text.

tiktoken is about five times faster and its threads scale. Its Rust code panics where it meets a byte its vocabulary lacks;
such a panic derives from BaseException and is turned into an error here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.cuts import PIECE_CHARS
from tuitrain.data.extras import load_extra
from tuitrain.data.vocabulary import InexpressibleError, Vocabulary, from_json
from tuitrain.errors import DataError

Ids = NDArray[np.uint32]
_GROUP_CHARS = 1 << 16
"""Pieces handed to a thread at once: small enough to balance, large enough not to notice the handing over."""


class Codec(Protocol):
    """Encodes pieces of bounded length."""

    backend: str
    reason: str
    piece_chars: int
    """Longest piece it is given."""

    def encode(self, pieces: Sequence[str], threads: int) -> list[Ids]:
        """Ids of each piece."""


class TiktokenCodec:
    """tiktoken; `threads` threads."""

    backend = "tiktoken"
    piece_chars = PIECE_CHARS

    def __init__(self, encoding: Any, reason: str) -> None:
        self.encoding, self.reason = encoding, reason

    def encode(self, pieces: Sequence[str], threads: int) -> list[Ids]:
        """Ids of each piece."""
        with panics_as_errors():
            groups = list(_grouped(pieces))
            if threads == 1 or len(groups) == 1:
                return [ids for group in groups for ids in self._encode_group(group)]
            with ThreadPoolExecutor(threads, thread_name_prefix="encode") as pool:
                return [ids for done in pool.map(self._encode_group, groups) for ids in done]

    def _encode_group(self, pieces: Sequence[str]) -> list[Ids]:
        return [self.encoding.encode_to_numpy(piece, disallowed_special=()) for piece in pieces]


class HuggingFaceCodec:
    """`tokenizers`; its own thread pool, as large as RAYON_NUM_THREADS says."""

    backend = "tokenizers"
    piece_chars = 1 << 20
    """Where a tokenizer normalises the text or puts a space before it, a cut may show in the ids: so there are few."""

    def __init__(self, tokenizer: Any, reason: str) -> None:
        self.tokenizer, self.reason = tokenizer, reason

    def encode(self, pieces: Sequence[str], threads: int) -> list[Ids]:
        """Ids of each piece; `threads` is not this pool's to choose."""
        with panics_as_errors():
            done = self.tokenizer.encode_batch_fast(list(pieces), add_special_tokens=False)
            return [np.array(each.ids, dtype=np.uint32) for each in done]


def build_codec(text: str) -> tuple[Codec, Vocabulary | None]:
    """The fastest codec that gives exactly the ids of this tokenizer.json; the vocabulary where tiktoken can express it."""
    tokenizer = load_huggingface(text)
    try:
        vocabulary = from_json(json.loads(text))
        encoding = build_encoding("tokenizer.json", vocabulary.pattern, vocabulary)
        check_identity(encoding, tokenizer, vocabulary.special)
    except InexpressibleError as error:
        return HuggingFaceCodec(tokenizer, f"tiktoken cannot express it: {error}"), None
    return TiktokenCodec(encoding, "same ids as the tokenizer.json, several times faster"), vocabulary


def load_huggingface(text: str) -> Any:
    """A `tokenizers.Tokenizer` that neither truncates, pads, nor finds special tokens in a text."""
    tokenizers = load_extra("tokenizers", "reading a tokenizer.json")
    try:
        with panics_as_errors():
            tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception for every kind of broken file
        raise DataError(
            f"not a tokenizer.json ({error})", "export the tokenizer again with tokenizer.save_pretrained"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def build_encoding(name: str, pattern: str, vocabulary: Vocabulary) -> Any:
    """A tiktoken.Encoding, or InexpressibleError."""
    tiktoken = load_extra("tiktoken", "encoding text")
    try:
        with panics_as_errors():
            return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=vocabulary.ranks, special_tokens=vocabulary.special)
    except (ValueError, AssertionError, DataError) as error:
        raise InexpressibleError(f"tiktoken rejects it ({error})") from error


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """A panic in Rust code becomes a DataError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise DataError(
            f"the tokenizer broke off: {error}", "its vocabulary lacks something the text holds; use a byte-level tokenizer"
        ) from error


def check_texts() -> list[str]:
    """Texts on which two tokenizers that differ will very likely differ."""
    rng = random.Random(0)
    ranges = ((9, 127), (0xA0, 0x3000), (0x3000, 0xD000), (0x1F300, 0x1F700), (0, 0x110000))
    texts = [
        "def f(x_1, *args):\n    return x_1.__len__() + 12345  # don't\n\n\nclass A:\n\tb = 's'\r\n",
        "The model's loss fell; it's 3.14159 -- <|endoftext|> & more...   \n  \n x",
        "     trailing   \n\n\n    ",
        "\u00e9\u0301 na\u00efve \u4e2d\u6587\u5b57 \U0001f469\u200d\U0001f680 \u200b\u0085\u2028x\u00a0y",
    ]
    for _ in range(300):
        chars = (chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(1, 60)))
        texts.append("".join(char for char in chars if not 0xD800 <= ord(char) < 0xE000))
    return texts


def check_identity(encoding: Any, tokenizer: Any, special: dict[str, int]) -> None:
    """Both give the same ids, special tokens included; else InexpressibleError."""
    for token, number in special.items():
        if tokenizer.token_to_id(token) != number:
            raise InexpressibleError(f"it gives {token!r} the id {tokenizer.token_to_id(token)}, not {number}")
    for text in check_texts():
        try:
            with panics_as_errors():
                same = encoding.encode_ordinary(text) == tokenizer.encode(text, add_special_tokens=False).ids
        except DataError as error:
            raise InexpressibleError(f"tiktoken fails on {text[:20]!r} ({error.message})") from error
        if not same:
            raise InexpressibleError(f"its ids for {text[:20]!r} differ")


def _grouped(pieces: Sequence[str]) -> Iterator[Sequence[str]]:
    start, chars = 0, 0
    for stop, piece in enumerate(pieces, start=1):
        chars += len(piece)
        if chars >= _GROUP_CHARS or stop == len(pieces):
            yield pieces[start:stop]
            start, chars = stop, 0
