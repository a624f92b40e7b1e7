"""What a source yields: documents, and rows that could not be read. Text in, tokens later. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from tuitrain.errors import DataError

MAX_ROW_BYTES = 64 << 20
"""Longest row of a JSON file that is taken into memory. A longer one is a bad row: memory stays bounded whatever the input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One text. `index` is its place in its input, counted from 1: reading can resume after it."""

    text: str
    where: str
    index: int = 0
    split_key: str = ""
    """What decides whether the document is held out; the text itself when empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """Something that could not be read: `where` is `file:line` (or `file:row`), `kind` one of KINDS."""

    where: str
    kind: str
    problem: str
    index: int = 0


Record = Document | BadRow

KINDS = {
    "encoding": "the bytes are not UTF-8, or hold half a surrogate pair",
    "syntax": "the row is not JSON",
    "key": "the text key is missing",
    "null": "the text is null",
    "type": "the row or its text has another type",
    "empty": "the text, or the whole file, is empty",
    "too-long": f"the row is longer than {MAX_ROW_BYTES >> 20} MiB",
    "truncated": "the compressed file ends early",
    "unreadable": "the operating system, or the file format, refuses to give the content",
    "role": "a turn has a role that nobody knows",
    "order": "the turns do not alternate: user, assistant, user, ...",
    "no-answer": "no turn is the assistant's",
    "empty-answer": "a turn of the assistant is empty",
    "unanswered": "the conversation ends before the assistant answers",
    "identical": "the chosen and the rejected answer are the same",
    "unsupported": "it needs more than text: tool calls, images, answers that are not to be learnt",
}


def bad_row_error(row: BadRow) -> DataError:
    """The error that ends a preparation whose `data.on_error` is `fatal`."""
    return DataError(
        f"{row.where}: {row.problem}",
        'mend it, or set data.on_error = "skip" to count and leave out what cannot be read',
    )


def text_record(value: object, *, where: str, index: int, what: str = "the text") -> Record:
    """The value of a text column as a document, or why it is none. `what` is how messages call it."""
    kind, problem = "", ""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            return BadRow(where=where, kind="encoding", problem=describe_decode_error(error), index=index)
    if value is None:
        kind, problem = "null", f"{what} is null"
    elif not isinstance(value, str):
        kind, problem = "type", f"{what} is of type {type(value).__name__}, not a string"
    elif not value:
        kind, problem = "empty", f"{what} is empty"
    elif not value.isascii() and _has_surrogate(value):
        kind, problem = "encoding", f"{what} is not UTF-8, or holds half a surrogate pair"
    else:
        return Document(text=value, where=where, index=index)
    return BadRow(where=where, kind=kind, problem=problem, index=index)


def row_record(row: object, text_key: str, *, where: str, index: int) -> Record:
    """A parsed JSON row as a document, or why it is none."""
    if not isinstance(row, dict):
        return no_object(row, where=where, index=index)
    if text_key not in row:
        keys = ", ".join(sorted(map(str, row))[:8]) or "none"
        return BadRow(where=where, kind="key", problem=f"no key {text_key!r} (keys: {keys})", index=index)
    return text_record(row[text_key], where=where, index=index)


def no_object(row: object, *, where: str, index: int) -> BadRow:
    """What becomes of a parsed JSON row that is no object."""
    name = {list: "an array", str: "a string", type(None): "null"}.get(type(row), f"a {type(row).__name__}")
    return BadRow(where=where, kind="type", problem=f"the row is {name}, not an object", index=index)


def describe_decode_error(error: UnicodeDecodeError) -> str:
    """One line: which byte, and where."""
    start = bytes(error.object[:2])
    if start in (b"\xff\xfe", b"\xfe\xff"):
        return "not UTF-8 (it begins with a UTF-16 mark)"
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x} at offset {error.start})"


def _has_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
