"""Token text that can be shown anywhere: nothing invisible, nothing that controls a terminal, no broken characters.

A newline is its mark and a broken line; a tab is its mark; control characters are their pictures; characters that only act on
others (direction marks, joiners, no-break spaces) are written as escapes such as \\u202e, and bytes that are no UTF-8 as \\xNN.
A text that holds these escapes literally looks the same: what is shown is for reading, not for parsing.

Pieces of tokens come as bytes, or as text in which a byte that is no UTF-8 is a surrogate escape (PEP 383); U+FFFD means the
decoder does not tell, and is written \\ufffd.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

NEWLINE, TAB, SPACE, CONTINUED = "\u21b5", "\u21e5", "\u00b7", "\u2025"
"""Marks; CONTINUED stands for a token all of whose bytes belong to a character that an earlier token shows."""
_PICTURES: Final = 0x2400
_HIDDEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")
_BLANK_LETTERS: Final = "\u115f\u1160\u2800\u3164\uffa0\ufffd"
"""Letters and signs that show as nothing, and the one that says that something was lost."""


def visible(text: str, *, spaces: bool = False, lines: bool = True) -> str:
    """The text as it can be shown; `spaces` marks those too, and without `lines` a newline is its mark only."""
    if text.isascii() and text.isprintable() and not spaces:
        return text
    shown = "".join(map(_visible_char, text))
    if not lines:
        shown = shown.replace("\n", "")
    return shown.replace(" ", SPACE) if spaces else shown


def visible_pieces(pieces: Sequence[str | bytes], *, spaces: bool = False, lines: bool = True) -> list[str]:
    """Each piece as it can be shown; a character that is spread over several is whole in the first, CONTINUED in the others."""
    raw = [piece if isinstance(piece, bytes) else encode(piece) for piece in pieces]
    if all(map(_is_whole, raw)):
        return [visible(piece.decode("utf-8"), spaces=spaces, lines=lines) for piece in raw]
    owned: list[list[str]] = [[] for _ in raw]
    ends = iter([(number, len(piece)) for number, piece in enumerate(raw) if piece])
    owner, left = next(ends)
    for char in b"".join(raw).decode("utf-8", "surrogateescape"):
        owned[owner].append(char)
        left -= len(encode(char))
        while left <= 0:
            owner, more = next(ends, (-1, 1 << 62))
            left += more
    return [
        visible("".join(chars), spaces=spaces, lines=lines) if chars or not piece else CONTINUED
        for chars, piece in zip(owned, raw, strict=True)
    ]


def encode(text: str) -> bytes:
    """The bytes of a piece: surrogate escapes are the bytes they stand for, other halves of pairs are kept as they are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b"".join(
            char.encode("utf-8", "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass") for char in text
        )


def _is_whole(piece: bytes) -> bool:
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(maxsize=1 << 14)
def _visible_char(char: str) -> str:
    code = ord(char)
    if char == "\n":
        return NEWLINE + "\n"
    if char == "\t":
        return TAB
    if code < 0x20 or code == 0x7F:
        return chr(_PICTURES + (code if code < 0x20 else 0x21))
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char in _BLANK_LETTERS or (char != " " and unicodedata.category(char) in _HIDDEN):
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return char
