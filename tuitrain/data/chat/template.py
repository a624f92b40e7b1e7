"""Chat templates: the Jinja text a model folder brings, rendered as transformers renders it, in a sandbox.

Rendered here and not by transformers, because that imports torch (3 s) and data is also looked at by programs without it; that
both give the same text is tested over the templates of every family. Templates come from strangers: the environment is
Jinja's immutable sandbox, and what they see is plain data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tuitrain.data.extras import load_extra
from tuitrain.errors import DataError, UsageError
from tuitrain.files import read_json

CHATML: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_BEGIN, _END = "\ufdd0", "\ufdd1"
"""Around what a template marks as generated: two of Unicode's noncharacters, which no text may hold."""
_SPECIAL_NAMES: Final = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class ChatTemplate:
    """One template with the special tokens it may name."""

    def __init__(self, source: str, special: Mapping[str, str], *, origin: str) -> None:
        self.source, self.special, self.origin = source, dict(special), origin
        plain = _environment(marked=False)
        jinja2 = load_extra("jinja2", "chat templates")
        try:
            self._compiled = plain.from_string(source)
        except jinja2.exceptions.TemplateSyntaxError as error:
            raise DataError(f"the chat template is no Jinja: line {error.lineno}: {error.message}", f"mend {origin}") from error
        self.has_marks = _has_marks(plain, source)
        """Whether it says itself what the model generates, by {% generation %}."""
        self._marked = _environment(marked=True).from_string(source) if self.has_marks else None

    def render(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = False) -> str:
        """The text of a conversation; DataError with the template's own words where it refuses."""
        return self._run(self._compiled, messages, add_generation_prompt)

    def render_marked(self, messages: Sequence[Mapping[str, str]]) -> tuple[str, list[tuple[int, int]]]:
        """The text, and the character spans inside {% generation %} blocks."""
        assert self._marked is not None, "only for templates with marks"
        pieces = self._run(self._marked, messages, False)
        text, spans, begin = "", [], 0
        for index, part in enumerate(pieces.replace(_END, _BEGIN).split(_BEGIN)):
            if index % 2:
                begin = len(text)
                spans.append((begin, begin + len(part)))
            text += part
        if text != self.render(messages):
            raise DataError("the chat template's generation marks change its text", f"mend {self.origin}")
        return text, spans

    def _run(self, compiled: Any, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
        jinja2 = load_extra("jinja2", "chat templates")
        plain = [{"role": str(each["role"]), "content": str(each["content"])} for each in messages]
        try:
            return str(
                compiled.render(
                    messages=plain, tools=None, documents=None, add_generation_prompt=add_generation_prompt, **self.special
                )
            )
        except (jinja2.exceptions.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise DataError(f"the chat template refuses: {str(error)[:200]}", f"the template is {self.origin}") from error


def load_template(folder: Path, override: str | None = None) -> ChatTemplate | None:
    """The template of a model folder, or the one given in its place; None where there is none."""
    special = special_tokens(folder)
    if override == "chatml":
        return ChatTemplate(CHATML, special, origin="chatml")
    if override is not None:
        try:
            return ChatTemplate(Path(override).expanduser().read_text(encoding="utf-8"), special, origin=override)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"data.chat_template={override!r} cannot be read: {error}", "chatml, or a .jinja file") from error
    file = folder / "chat_template.jinja"
    if file.is_file():
        return ChatTemplate(file.read_text(encoding="utf-8"), special, origin=file.name)
    source = (read_json(folder / "tokenizer_config.json") or {}).get("chat_template")
    if isinstance(source, list):  # several by name
        source = next((each.get("template") for each in source if each.get("name") == "default"), None)
    return ChatTemplate(source, special, origin="tokenizer_config.json") if isinstance(source, str) else None


def special_tokens(folder: Path) -> dict[str, str]:
    """`bos_token`, `eos_token` and so on of a model folder, as far as it names them."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        raw = read_json(folder / name) or {}
        for key in _SPECIAL_NAMES:
            value = raw.get(key)
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                found[key] = value
    return found


def _environment(*, marked: bool) -> Any:
    jinja2 = load_extra("jinja2", "chat templates")
    ext, sandbox = load_extra("jinja2.ext", "chat templates"), load_extra("jinja2.sandbox", "chat templates")

    class Generation(ext.Extension):  # type: ignore[misc, name-defined]
        """{% generation %} ... {% endgeneration %}"""

        tags: Final = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

        def _mark(self, caller: Any) -> str:
            return f"{_BEGIN}{caller()}{_END}" if marked else str(caller())

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _has_marks(environment: Any, source: str) -> bool:
    """Whether there is a {% generation %} that is no comment, however its white space is written."""
    kinds = [(kind, text) for _, kind, text in environment.lex(source) if kind != "whitespace"]
    return any(first[0] == "block_begin" and then == ("name", "generation") for first, then in pairwise(kinds))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without the HTML escapes of Jinja's own; arguments in transformers' order."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise load_extra("jinja2", "chat templates").exceptions.TemplateError(message)
