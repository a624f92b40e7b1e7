"""The tokenizer: text to ids and back, without loss, and a folder that transformers opens with the same ids.

Special tokens are never read out of a text, and stand for no bytes: `<|endoftext|>` in a document is thirteen characters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.codec import Codec, Ids, build_codec
from tuitrain.data.cuts import cut
from tuitrain.data.vocabulary import Vocabulary, token_to_bytes
from tuitrain.errors import DataError
from tuitrain.files import write_atomic, write_json

_DECODE_BLOCK = 1 << 16
_KNOWN_EOS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>")


class Tokenizer:
    """Immutable. Made by `from_file`, by `from_json` (of what `train_bpe` learnt), or by `published_tokenizer`."""

    def __init__(
        self,
        *,
        name: str,
        codec: Codec,
        table: list[bytes],
        eos: str,
        eos_id: int,
        content_hash: str,
        json_text: Callable[[], str],
    ) -> None:
        self.name = name
        self.backend, self.backend_reason = codec.backend, codec.reason
        self.eos, self.eos_id = eos, eos_id
        self.vocab_size = len(table)
        """Ids are below it. A trained vocabulary may be smaller than asked for, when there is little to learn from."""
        self.content_hash = content_hash
        """Changes when any text could get other ids."""
        self._codec, self._table, self._json_text = codec, table, json_text

    def encode(self, text: str) -> list[int]:
        """Ids of a text; no special token is added."""
        return cast(list[int], self.encode_batch([text])[0].tolist())

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[Ids]:
        """Ids of each text, on several threads. Half surrogate pairs are replaced by U+FFFD."""
        cuts = [cut(_whole_surrogates(text), self._codec.piece_chars) for text in texts]
        encoded = iter(self._codec.encode([piece for pieces in cuts for piece in pieces], threads))
        return [next(encoded) if len(pieces) == 1 else np.concatenate([next(encoded) for _ in pieces]) for pieces in cuts]

    def decode_bytes(self, ids: Sequence[int] | Ids) -> bytes:
        """The bytes the ids stand for: for any text, those that were encoded. Special and unknown ids stand for none."""
        table, size, data = self._table, self.vocab_size, bytearray()
        for start in range(0, len(ids), _DECODE_BLOCK):  # a joined list of all pieces would take ninety times their size
            block = [int(number) for number in ids[start : start + _DECODE_BLOCK]]
            data += b"".join([table[number] for number in block if 0 <= number < size])
        return bytes(data)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text; bytes that are no UTF-8 (a token may end inside a character) show as U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def byte_table(self) -> list[bytes]:
        """The bytes of each id; empty for special ones."""
        return list(self._table)

    def token_bytes(self) -> NDArray[np.int32]:
        """How many bytes each id stands for: what turns nats per token into bits per byte."""
        return np.array([len(data) for data in self._table], dtype=np.int32)

    def save(self, folder: Path) -> None:
        """Write what `transformers.AutoTokenizer.from_pretrained(folder)` needs. There is no padding token: set one to pad."""
        text = self._json_text()
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "tokenizer.json", text)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self.eos,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 10**30,
        }
        write_json(folder / "tokenizer_config.json", config)
        write_json(folder / "special_tokens_map.json", {"eos_token": self.eos})

    @classmethod
    def from_vocabulary(
        cls, vocabulary: Vocabulary, codec: Codec, *, name: str, eos: str, json_text: Callable[[], str]
    ) -> Tokenizer:
        """A byte-level tokenizer whose pattern and ranks are known."""
        if eos not in vocabulary.special:
            raise DataError(
                f"the tokenizer {name} has no special token {eos!r}", "name its end-of-text token in tokenizer_config.json"
            )
        table = [b""] * (1 + max([*vocabulary.ranks.values(), *vocabulary.special.values()]))
        digest = hashlib.sha256(json.dumps([vocabulary.pattern, eos, sorted(vocabulary.special.items())]).encode())
        for data, number in sorted(vocabulary.ranks.items(), key=lambda item: item[1]):
            table[number] = data
            digest.update(b"%d:%d:%b" % (number, len(data), data))
        eos_id = vocabulary.special[eos]
        return cls(
            name=name, codec=codec, table=table, eos=eos, eos_id=eos_id, content_hash=digest.hexdigest(), json_text=json_text
        )

    @classmethod
    def from_json(cls, text: str, *, name: str, eos: str) -> Tokenizer:
        """The tokenizer of a tokenizer.json."""
        codec, vocabulary = build_codec(text)
        if vocabulary is not None:
            return cls.from_vocabulary(vocabulary, codec, name=name, eos=eos, json_text=lambda: text)
        data = json.loads(text)
        ids = {token: int(number) for token, number in _all_tokens(data)}
        if eos not in ids:
            raise DataError(f"the tokenizer {name} has no token {eos!r}", "name its end-of-text token in tokenizer_config.json")
        digest = hashlib.sha256(json.dumps([eos, data], sort_keys=True).encode())
        return cls(
            name=name, codec=codec, table=_byte_table(data, ids), eos=eos, eos_id=ids[eos], content_hash=digest.hexdigest(),
            json_text=lambda: text,
        )  # fmt: skip

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """The tokenizer of a tokenizer.json, or of the folder that holds it."""
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            text = file.read_text(encoding="utf-8")
            known = {added["content"] for added in json.loads(text).get("added_tokens", [])}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{file} is no tokenizer.json ({error})", "point tokenizer.path at a tokenizer.json or its folder"
            ) from error
        eos = _configured_eos(file.parent) or next((token for token in _KNOWN_EOS if token in known), None)
        if eos is None:
            raise DataError(
                f"{file} does not say which token ends a text", "put eos_token into tokenizer_config.json beside it"
            )
        return cls.from_json(text, name=path.name, eos=eos)


def _configured_eos(folder: Path) -> str | None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            eos = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token")
        except (OSError, ValueError, AttributeError):
            continue
        eos = eos.get("content") if isinstance(eos, dict) else eos
        if isinstance(eos, str):
            return eos
    return None


def _whole_surrogates(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _all_tokens(data: dict[str, Any]) -> Iterable[tuple[str, int]]:
    vocab = data["model"]["vocab"]
    yield from vocab.items() if isinstance(vocab, dict) else ((entry[0], number) for number, entry in enumerate(vocab))
    yield from ((added["content"], added["id"]) for added in data.get("added_tokens", []))


def _byte_table(data: dict[str, Any], ids: dict[str, int]) -> list[bytes]:
    """Bytes of each id where tiktoken cannot tell: byte-level tokens, or SentencePiece's (bar for space, <0x0A> for a byte)."""
    special = {added["content"] for added in data.get("added_tokens", []) if added["special"]}
    plain = {added["content"] for added in data.get("added_tokens", []) if not added["special"]}
    decoder = json.dumps(data.get("decoder"))
    byte_level = '"ByteLevel"' in decoder
    if not byte_level and r"\u2581" not in decoder:
        raise DataError(
            "the tokenizer's decoder does not give back the bytes of a text", "use a byte-level or SentencePiece BPE"
        )
    table = [b""] * (1 + max(ids.values()))
    for token, number in ids.items():
        if token in special:
            continue
        raw = token_to_bytes(token) if byte_level and token not in plain else None
        if raw is None and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            raw = bytes([int(token[3:5], 16)])
        table[number] = raw if raw is not None else token.replace("\u2581", " ").encode("utf-8")
    return table
