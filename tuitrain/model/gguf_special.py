"""The tokens of a model folder that have a role, and its chat template: spread over five files, and written in several ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuitrain.files import read_json

_ROLES: Final = {"bos": "bos_token", "eos": "eos_token", "unk": "unk_token", "pad": "pad_token"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Special:
    """`ids` by role (bos, eos, unk, pad, eot); whether the tokenizer puts the first two around a text."""

    ids: dict[str, int]
    add_bos: bool
    add_eos: bool
    chat_template: str | None


def read_special(folder: Path, tokenizer: Any, rows: int) -> Special:
    """What the folder says. The tokenizer's files come before the model's, whose ids are often another model's defaults."""
    settings = (read_json(folder / "special_tokens_map.json") or {}) | (read_json(folder / "tokenizer_config.json") or {})
    model, generation = read_json(folder / "config.json") or {}, read_json(folder / "generation_config.json") or {}
    ids: dict[str, int] = {}
    for role, key in _ROLES.items():
        named = settings.get(key)
        named = named.get("content") if isinstance(named, dict) else named
        number = tokenizer.token_to_id(named) if isinstance(named, str) else None
        if number is None:
            number = next(_listed(model.get(f"{role}_token_id")), None)
        if number is not None and 0 <= number < rows:
            ids[role] = number
    for number in _listed(generation.get("eos_token_id")):
        if number != ids.get("eos") and 0 <= number < rows:
            ids.setdefault("eot", number)  # a chat model has two ends: of a turn, and of a text
    around = tokenizer.encode("a").ids
    return Special(
        ids=ids,
        add_bos=len(around) > 1 and around[0] == ids.get("bos"),
        add_eos=len(around) > 1 and around[-1] == ids.get("eos"),
        chat_template=_chat_template(folder, settings),
    )


def _listed(value: Any) -> Iterator[int]:
    yield from (value if isinstance(value, list) else [] if value is None else [value])


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
    return template
