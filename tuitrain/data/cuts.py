"""Cut a text into pieces that can be tokenised one by one. Bounded work for any input, and the same tokens.

A piece ends where every split pattern in use ends one too: before a single space, or after a single newline, between two
characters that are not white space. The tokens of the pieces, joined, are then exactly the tokens of the text. Only where
PIECE_CHARS characters hold no such place (a blob without any spaces) is the cut arbitrary: the tokens may then differ from
an uncut encoding, the bytes they stand for never do. Without cuts, time and memory grow faster than such a run does.
"""

from __future__ import annotations

import re

PIECE_CHARS = 1 << 14

_SAFE = re.compile(r"\S(?= \S)|\S\n(?=[^\s/])")
"""Characters after which a cut is safe. `/` is left out because o200k_base lets it follow the newlines after a sign."""


def cut(text: str, piece_chars: int = PIECE_CHARS) -> list[str]:
    """Pieces of at most `piece_chars` characters; joined, they are the text."""
    if len(text) <= piece_chars:
        return [text]
    pieces, start = [], 0
    while len(text) - start > piece_chars:
        end = _last_safe(text, start, start + piece_chars)
        pieces.append(text[start:end])
        start = end
    pieces.append(text[start:])
    return pieces


def _last_safe(text: str, start: int, limit: int) -> int:
    """The last safe place in (start, limit], else `limit`. `text` is longer than `limit`."""
    space = text.rfind(" ", start + 1, limit)
    if space > 0 and not text[space - 1].isspace() and not text[space + 1].isspace():
        return space
    if space < 0 and text.find("\n", start, limit) < 0:
        return limit
    end = limit
    for match in _SAFE.finditer(text, start, limit + 1):
        end = match.end()
    return end
