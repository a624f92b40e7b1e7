"""An Ollama Modelfile for a GGUF file: where it is, how a conversation is written down, where the model stops.

Ollama's templates are Go's. One is written for the formats of `ollama_formats` only, and only after the model's own Jinja
template gave the same text for a conversation; anything else gets a comment in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tuitrain.data.chat.template import ChatTemplate
from tuitrain.errors import DataError, UsageError
from tuitrain.model.ollama_formats import CONTENT, FORMATS, Format

_DIALOGUE: Final = (("user", "Why?"), ("assistant", "Because."), ("user", "Why not?"))


def modelfile(
    gguf_name: str,
    chat_template: str | None,
    *,
    special: Mapping[str, str] | None = None,
    adds_bos: bool = True,
    system: str | None = None,
    context: int | None = None,
) -> str:
    """The Modelfile to lie beside the GGUF file `gguf_name`.

    `special` are `bos_token`, `eos_token` and so on, as the template may name them; `adds_bos` says whether the GGUF's
    tokenizer writes the first of them by itself. `system` becomes the standing system message; without it, the one the model's
    own template falls back on. `context` is the length in tokens Ollama should allow.
    """
    names = dict(special or {})
    lines, spoken = [f"FROM ./{gguf_name}"], system
    found = _recognise(ChatTemplate(chat_template, names, origin="the model's"), names, system) if chat_template else None
    if chat_template is None:
        lines += ["# The model has no chat template: it continues a text.", "TEMPLATE {{ .Prompt }}"]
    elif found is None:
        lines.append(_UNKNOWN)
    else:
        form, spoken, eos = found.form, found.system, names.get("eos_token", "")
        begin = names.get("bos_token", "") if found.begins and not adds_bos else ""
        lines.append(f"# {form.name}, as the model's own template writes it.")
        lines.append(f"TEMPLATE {_quoted(form.go(eos, begin, system_last=found.system_last))}")
        lines += [f'PARAMETER stop "{stop}"' for stop in (each.replace("{eos}", eos) for each in form.stops) if stop]
    if context is not None:
        lines.append(f"PARAMETER num_ctx {context}")
    if spoken:
        lines.append(f"SYSTEM {_quoted(spoken)}")
    return "\n".join(lines) + "\n"


_UNKNOWN = (
    "# The model's chat template is none of the formats written here, so there is no TEMPLATE line. Ollama looks at the\n"
    "# template inside the GGUF file; if it knows no match either, prompts go to the model without any format.\n"
    "# `ollama show --template` tells which."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    form: Format
    begins: bool
    """Whether the template writes the begin token."""
    system: str | None
    system_last: bool = False


def _recognise(template: ChatTemplate, special: dict[str, str], system: str | None) -> _Found | None:
    """The format that gives the same text as the template; None if there is none."""
    bos, eos = special.get("bos_token", ""), special.get("eos_token", "")
    plain = _render(template, _DIALOGUE)
    asked = (("system", system or "Be brief."), *_DIALOGUE)
    for form in FORMATS if plain is not None else ():
        head = _head(plain, form.text(_DIALOGUE, eos))
        opening = _opening(form, head, bos)
        if opening is None:
            continue
        found = _Found(form=form, begins=opening[0], system=system or opening[1] or None)
        said = _render(template, asked)
        if said is None:  # it refuses system messages; they are written as others of its kind write them
            return found
        if form.system is None:
            merged = f"{asked[0][1]}\n\n{_DIALOGUE[-1][1]}"
            return replace(found, system_last=said.endswith(form.text((("user", merged),), eos)))
        opening = _opening(form, _head(said, form.text(_DIALOGUE, eos)), bos)
        if system and opening:  # some templates add a date or a preamble
            return replace(found, system=opening[1] or system)
        return found
    return None


def _head(text: str | None, tail: str) -> str | None:
    return text.removesuffix(tail) if text is not None and text.endswith(tail) else None


def _opening(form: Format, head: str | None, bos: str) -> tuple[bool, str] | None:
    """Whether `head` begins with the begin token, and the content of the system turn that is the rest of it; empty without one.

    None if it is something else. SmolLM2's begin token is the one its turns begin with, so the text as it is comes first.
    """
    if head is None:
        return None
    before, _, after = (form.system or "").partition(CONTENT)
    for begins, rest in ((False, head), (True, head.removeprefix(bos))):
        if not rest:
            return begins, ""
        if form.system and rest.startswith(before) and rest.endswith(after) and len(rest) >= len(before) + len(after):
            return begins, rest[len(before) : len(rest) - len(after)]
    return None


def _render(template: ChatTemplate, turns: Sequence[tuple[str, str]]) -> str | None:
    try:
        return template.render([{"role": role, "content": content} for role, content in turns], add_generation_prompt=True)
    except DataError:  # some refuse a system message, some any but their own roles
        return None


def _quoted(text: str) -> str:
    if '"""' in text:
        raise UsageError('a Modelfile cannot hold a text with """ in it', "take it out of the system message")
    return f'"""{text}"""'
