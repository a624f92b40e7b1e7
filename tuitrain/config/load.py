"""TOML file + dotted overrides -> Config. Every problem is found in one pass and told with file, line and nearest name."""

from __future__ import annotations

import difflib
import itertools
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tuitrain.config.check import impossible
from tuitrain.config.locate import KeyPath, key_lines, line_of
from tuitrain.config.schema import Config, SourceSection
from tuitrain.errors import ConfigError, Problem


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a file with `a.b=value` overrides applied; ConfigError lists everything that is wrong with it."""
    text = _read(path) if path else ""
    name = str(path) if path else "<defaults>"
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(where=name, key="TOML", message=str(error))], "see https://toml.io for the syntax") from None
    lines = key_lines(text)
    sources: dict[KeyPath, str] = {}
    problems = [problem for override in overrides if (problem := _apply(tree, override, sources))]
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += [_problem(dict(item), name, lines, sources) for item in error.errors()]
        raise ConfigError(problems) from None
    for key, message, hint in impossible(config):
        path_ = tuple(key.split("."))
        problems.append(Problem(where=_where(path_, name, lines, sources), key=key, message=message, hint=hint))
    if problems:
        raise ConfigError(problems)
    return _with_absolute_paths(config, path.parent if path else Path.cwd())


def parse_value(text: str) -> Any:
    """An override's value: TOML where it is TOML (numbers, booleans, lists, tables, quoted strings), else the bare string."""
    if text in ("null", "none"):
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(
            path.name, [each.name for each in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        )
        hint = (
            f"did you mean {path.parent / near[0]}?"
            if near
            else "see `tuitrain train --help`; presets stand in presets/recipes"
        )
        raise ConfigError([Problem(where=str(path), key="file", message="does not exist")], hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(where=str(path), key="file", message=f"cannot be read: {error}")]) from None


def _apply(tree: dict[str, Any], override: str, sources: dict[KeyPath, str]) -> Problem | None:
    """Set one `a.b=value` in the tree. Integers index arrays of tables: data.sources.0.weight=2."""
    key, equals, value = override.partition("=")
    path: list[str | int] = [int(part) if part.isdigit() else part for part in key.strip().split(".")]
    if not equals or not all(str(part) for part in path):
        return Problem(where=f"override {override!r}", key=key, message="is not of the form section.key=value")
    node: Any = tree
    if path[:2] == ["data", "sources"] and len(path) > 2 and "sources" not in tree.get("data", {}):
        tree.setdefault("data", {})["sources"] = Config().model_dump(mode="json", exclude_none=True)["data"]["sources"]
    for part, following in itertools.pairwise(path):
        try:
            if isinstance(node, list):
                node = node[int(part)]
            else:
                node = node.setdefault(part, [] if isinstance(following, int) else {})
        except (IndexError, ValueError, AttributeError):
            return Problem(where=f"override {override!r}", key=key, message=f"nothing stands at {part!r}")
    last = path[-1]
    try:
        if isinstance(node, list) and isinstance(last, int) and last == len(node):
            node.append(parse_value(value))
        else:
            node[last] = parse_value(value)
    except (IndexError, TypeError):
        return Problem(where=f"override {override!r}", key=key, message=f"nothing stands at {last!r}")
    sources[tuple(path)] = f"override {override}"
    return None


def _where(path: KeyPath, name: str, lines: dict[KeyPath, int], sources: dict[KeyPath, str]) -> str:
    for end in range(len(path), 0, -1):
        if path[:end] in sources:
            return sources[path[:end]]
    return f"{name}:{line_of(lines, path)}" if lines else name


def _problem(error: dict[str, Any], name: str, lines: dict[KeyPath, int], sources: dict[KeyPath, str]) -> Problem:
    # pydantic adds the tag of a union's branch to the path; keep only what the user wrote.
    location = tuple(
        part for part in error["loc"] if isinstance(part, int) or not part.startswith(("literal[", "constrained-", "function-"))
    )
    location = location[:-1] if location and location[-1] in ("int", "float", "str") else location
    key = ".".join(map(str, location))
    if error["type"] == "extra_forbidden":
        known = _fields_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        elsewhere = "" if near else _section_of(str(location[-1]))
        hint = f"did you mean {near[0]!r}?" if near else elsewhere or f"known: {', '.join(known)}"
        return Problem(where=_where(location, name, lines, sources), key=key, message="unknown key", hint=hint)
    message = error["msg"][:1].lower() + error["msg"][1:]
    value = error.get("input")
    shown = f", got {value!r}" if not isinstance(value, dict) else ""
    hint = ""
    if error["type"] == "literal_error" and isinstance(value, str):
        choices = [part.strip(" '") for part in error["ctx"]["expected"].replace(" or ", ",").split(",")]
        near = difflib.get_close_matches(value, choices, n=1)
        hint = f"did you mean {near[0]!r}?" if near else ""
    return Problem(where=_where(location, name, lines, sources), key=key or "configuration", message=message + shown, hint=hint)


def _fields_at(path: KeyPath) -> list[str]:
    """Names of the fields of the section at `path`; arrays are looked through."""
    model: type[BaseModel] = Config
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel))
    return list(model.model_fields)


def _section_of(key: str) -> str:
    for name, field in Config.model_fields.items():
        if (
            isinstance(field.annotation, type)
            and issubclass(field.annotation, BaseModel)
            and key in field.annotation.model_fields
        ):
            return f"{key!r} belongs to [{name}]"
    return ""


def _with_absolute_paths(config: Config, base: Path) -> Config:
    """Relative paths are relative to the file that names them; a run works in another folder, so they are made absolute."""

    def absolute(value: Path | None) -> Path | None:
        return value if value is None else (base / value.expanduser()).resolve()

    def section(source: SourceSection) -> SourceSection:
        return source.model_copy(update={"path": absolute(source.path), "validation_path": absolute(source.validation_path)})

    def if_there(value: str | None) -> str | None:
        """Of what may be a path or a name: the path, where it leads to something."""
        path = None if value is None else (base / Path(value).expanduser()).resolve()
        return str(path) if path is not None and path.exists() else value

    # What nobody has written stays unwritten: a stage may have other defaults.
    changes: dict[str, BaseModel] = {}
    data = config.data
    written = {
        "sources": tuple(map(section, data.sources)),
        "replay_sources": tuple(map(section, data.replay_sources)),
        "chat_template": if_there(data.chat_template),
    }
    if written := {key: value for key, value in written.items() if key in data.model_fields_set}:
        changes["data"] = data.model_copy(update=written)
    if config.tokenizer.path is not None:
        changes["tokenizer"] = config.tokenizer.model_copy(update={"path": absolute(config.tokenizer.path)})
    if config.model.base is not None:
        changes["model"] = config.model.model_copy(update={"base": if_there(config.model.base)})
    return config.model_copy(update=changes)
