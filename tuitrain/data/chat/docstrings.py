"""The embedded examples: what the running Python's standard library says about itself, as questions and answers.

The answer is a docstring as its author wrote it, the question names what it belongs to. Nothing is imported: the sources are
parsed. Test suites are left out, and what is private; so is everything written in C. Python 3.11 gives about 6,000 pairs
(3.11.7: 6,012, with answers of 1.3 million characters in all).
"""

from __future__ import annotations

import ast
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tuitrain.data.chat.examples import Example, Message
from tuitrain.data.chat.signatures import call_of
from tuitrain.data.records import BadRow
from tuitrain.data.sources import Input, StdlibSource

NAME = "python-docstrings"
MIN_CHARS, MIN_WORDS = 30, 4
"""A shorter docstring says no more than the name does."""
MAX_CHARS = 1200
"""A longer one is cut where a paragraph ends."""

_PUBLIC_NAMES = {"_pydecimal": "decimal", "_pyio": "io", "_pydatetime": "datetime", "_collections_abc": "collections.abc"}
"""Private modules that are written to be used under another name."""

QUESTIONS = {
    "function": (
        "What does `{call}` do?",
        "Explain the function `{call}` of Python's standard library.",
        "What is `{name}` for? Python's module `{module}` defines it as `{call}`.",
        "Describe the function `{call}` of the Python module `{module}`.",
    ),
    "method": (
        "What does `{call}` do?",
        "Explain the method `{call}` of Python's standard library.",
        "What is the method `{name}` for? It is called as `{call}`.",
        "Describe the method `{call}` of the Python module `{module}`.",
    ),
    "class": (
        "What is `{call}`?",
        "Explain the class `{call}` of Python's standard library.",
        "What is the class `{name}` for? Python's module `{module}` defines it as `{call}`.",
        "Describe the class `{call}` of the Python module `{module}`.",
    ),
    "property": (
        "What does the property `{name}` hold?",
        "Explain the property `{name}` of Python's standard library.",
    ),
    "module": (
        "What is Python's module `{name}` for?",
        "Explain the module `{name}` of Python's standard library.",
        "What does the standard library of Python offer in `{name}`?",
    ),
}

_Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, kw_only=True, slots=True)
class _Subject:
    """What a docstring is about: `name` in full, `call` as it is written in code."""

    kind: str
    name: str
    call: str
    line: int
    docstring: str | None


def docstring_examples(system_prompt: str | None = None, source: StdlibSource | None = None) -> Iterator[Example | BadRow]:
    """All pairs in the order of the files, each answer once. A file that does not parse is a bad row."""
    given: set[str] = set()
    before = (Message(role="system", content=system_prompt),) if system_prompt else ()
    source = source or StdlibSource()
    for index, item in enumerate(source.inputs(), start=1):
        if (module := _module_name(item.name)) is None:
            continue
        try:
            tree = _parse(item)
        except (OSError, ValueError, SyntaxError, RecursionError) as error:
            yield BadRow(where=f"Lib/{item.name}:1", kind="unreadable", problem=str(error), index=index)
            continue
        for subject in _subjects(tree, module):
            answer = _answer(subject.docstring or "")
            if answer is not None and (key := " ".join(answer.split())) not in given:
                given.add(key)
                where = f"Lib/{item.name}:{subject.line}"
                question = Message(role="user", content=_question(subject, module))
                yield Example(messages=(*before, question, Message(role="assistant", content=answer)), where=where)


def _module_name(path: str) -> str | None:
    """Dotted name of a module by its path; None when it is private."""
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    parts[0] = _PUBLIC_NAMES.get(parts[0], parts[0])
    if any(part.startswith("_") and not part.endswith("__") for part in parts):
        return None
    return ".".join(parts)


def _parse(item: Input) -> ast.Module:
    assert item.path is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old escape sequences in the library's own sources
        return ast.parse(item.path.read_bytes())


def _subjects(tree: ast.Module, module: str) -> Iterator[_Subject]:
    """The module, and everything public in it in the order of its lines."""
    yield _Subject(kind="module", name=module, call=module, line=1, docstring=ast.get_docstring(tree))
    yield from _inside(tree.body, module, in_class=False)


def _inside(body: list[ast.stmt], prefix: str, *, in_class: bool) -> Iterator[_Subject]:
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):  # one of several definitions, as the platform has it
            for part in (node.body, *(each.body for each in getattr(node, "handlers", ())), node.orelse):
                yield from _inside(part, prefix, in_class=in_class)
        elif isinstance(node, _Documented) and (not node.name.startswith("_") or node.name.endswith("__")):
            name = f"{prefix}.{node.name}"
            kind, call = call_of(node, name, in_class=in_class)
            yield _Subject(kind=kind, name=name, call=call, line=node.lineno, docstring=ast.get_docstring(node))
            if isinstance(node, ast.ClassDef):
                yield from _inside(node.body, name, in_class=True)


def _answer(docstring: str) -> str | None:
    """The docstring without trailing white space, cut to length; None when it says too little."""
    lines = (line.rstrip().expandtabs() for line in docstring.replace("\f", "").splitlines())
    paragraphs = [paragraph.strip("\n") for paragraph in "\n".join(lines).strip().split("\n\n")]
    text = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
    if len(text) > MAX_CHARS:
        ends = (text.rfind(mark, MIN_CHARS, MAX_CHARS) for mark in ("\n\n", "\n", " "))
        text = text[: next((end for end in ends if end > 0), MAX_CHARS)].rstrip()
        while text.endswith(":") and "\n\n" in text:  # what it announces was cut off
            text = text.rpartition("\n\n")[0].rstrip()
    is_reference = text.lower().startswith("see ") and "\n" not in text
    return None if len(text) < MIN_CHARS or len(text.split()) < MIN_WORDS or is_reference else text


def _question(subject: _Subject, module: str) -> str:
    wordings = QUESTIONS[subject.kind]
    wording = wordings[zlib.crc32(subject.name.encode()) % len(wordings)]  # the same everywhere, always
    return wording.format(call=subject.call, name=subject.name, module=module)
