"""A byte-level vocabulary in both forms: a tokenizer.json, and the ranks tiktoken wants. Standard library only.

tiktoken merges the pair whose bytes have the lowest id; a tokenizer.json lists its merges in order. Both give the same tokens
when every token beyond the 256 bytes has exactly one merge and their ids ascend in the order of the merges. What cannot be
expressed that way raises `InexpressibleError`, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


class InexpressibleError(ValueError):
    """This tokenizer.json has no equal in tiktoken; the message is the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """Split pattern, the id of each byte string, and the ids of special tokens."""

    pattern: str
    ranks: dict[bytes, int]
    special: dict[str, int]


def _byte_chars() -> dict[int, str]:
    """GPT-2's printable character for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    chars = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in chars:
            chars[byte] = chr(256 + len(chars) - len(printable))
    return chars


CHAR_OF_BYTE = _byte_chars()
BYTE_OF_CHAR = {char: byte for byte, char in CHAR_OF_BYTE.items()}


def token_to_bytes(token: str) -> bytes | None:
    """The bytes a byte-level token stands for; None when it holds a character that is no byte's."""
    try:
        return bytes(BYTE_OF_CHAR[char] for char in token)
    except KeyError:
        return None


def bytes_to_token(data: bytes) -> str:
    """The inverse of `token_to_bytes`."""
    return "".join(CHAR_OF_BYTE[byte] for byte in data)


def from_json(data: dict[str, Any]) -> Vocabulary:
    """The vocabulary of a parsed tokenizer.json."""
    model = data["model"]
    if model.get("type", "BPE") != "BPE":
        raise InexpressibleError(f"its model is {model.get('type')}, not BPE")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise InexpressibleError(f"its model sets {name}")
    if data.get("normalizer"):
        raise InexpressibleError("it normalises the text")
    for added in data.get("added_tokens", []):
        if not added["special"]:
            raise InexpressibleError(f"the added token {added['content']!r} is not special")
    special = {added["content"]: int(added["id"]) for added in data.get("added_tokens", [])}
    ranks: dict[bytes, int] = {}
    for token, number in model["vocab"].items():
        if token not in special:
            key = token_to_bytes(token)
            if key is None:
                raise InexpressibleError(f"the token {token!r} is not byte-level")
            ranks[key] = int(number)
    _check_merges(model["merges"], ranks, several=bool(model.get("ignore_merges")))
    return Vocabulary(pattern=_pattern(data.get("pre_tokenizer")), ranks=ranks, special=special)


def _pattern(pre_tokenizer: Any) -> str:
    """The regular expression of the pre-tokenizer, where it is one expression and bytes."""
    match pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False, **rest} if rest.get("use_regex", True):
            return GPT2_PATTERN
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return str(pattern)
    raise InexpressibleError("its pre-tokenizer is not one split pattern over bytes")


def _check_merges(merges: list[Any], ranks: dict[bytes, int], *, several: bool) -> None:
    """`several`: a token may be listed with every pair that gives it, as files converted from tiktoken do."""
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise InexpressibleError(f"{len(missing)} of the 256 bytes are missing (0x{missing[0]:02x} is the first)")
    previous, merged = -1, 0
    for merge in merges:
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        number = ranks.get((token_to_bytes(left) or b"") + (token_to_bytes(right) or b""), -1)
        if number < previous or (number == previous and not several):
            raise InexpressibleError(f"the merge {left!r} + {right!r} does not come in the order of the ids")
        merged += number != previous
        previous = number
    if merged != len(ranks) - 256:
        raise InexpressibleError(f"{len(ranks) - 256} tokens need a merge, {merged} have one")


def to_json(vocabulary: Vocabulary, *, pattern: str) -> dict[str, Any]:
    """A tokenizer.json of a published tiktoken vocabulary. `pattern` is its split pattern without possessive quantifiers.

    Each token's merge is found by encoding its bytes with the tokens of lower id: two parts remain, and they are the merge.
    """
    merges = []
    for token, rank in sorted(vocabulary.ranks.items(), key=lambda item: item[1]):
        if len(token) > 1 and len(parts := _merge_below(token, rank, vocabulary.ranks)) == 2:
            merges.append([bytes_to_token(part) for part in parts])
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags: dict[str, Any] = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": number, "content": token} | flags for token, number in vocabulary.special.items()]
    # Special tokens stand in the vocabulary too: `tokenizers` gives an added token it does not find there the next free id.
    vocab = {bytes_to_token(token): rank for token, rank in vocabulary.ranks.items()} | vocabulary.special
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": True, "vocab": vocab, "merges": merges,
        },
    }  # fmt: skip


def _merge_below(token: bytes, limit: int, ranks: dict[bytes, int]) -> list[bytes]:
    """The token's bytes merged with all tokens of an id below `limit`."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 1:
        best, at = min((ranks.get(parts[i] + parts[i + 1], limit), i) for i in range(len(parts) - 1))
        if best >= limit:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
