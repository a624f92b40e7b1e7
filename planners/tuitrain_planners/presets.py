"""Reading TOML files of shapes, hardware and loss laws: strict about keys, helpful about names.

The planner is given paths; where the shipped presets live is the caller's business.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.hardware import Hardware, MfuPrior
from tuitrain_planners.laws import LossLaw
from tuitrain_planners.parameters import count_parameters
from tuitrain_planners.parts import Experts, LatentAttention, SlidingWindow
from tuitrain_planners.shapes import FAMILIES, SIZES, ModelShape


def preset_names(folder: Path) -> list[str]:
    """Names of the presets in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def preset_path(folder: Path, name: str, what: str) -> Path:
    """The file of a preset by its name; an unknown name is an error that tells the nearest ones."""
    names = preset_names(folder)
    if name not in names:
        raise unknown_name(what, name, names)
    return folder / f"{name}.toml"


def read_preset(path: Path, *, required: Iterable[str], optional: Iterable[str]) -> dict[str, Any]:
    """The table of a preset. Missing and unknown keys are errors that name the file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read {path}: {error.strerror}", "give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} is not valid TOML: {error}") from error
    required, known = set(required), {*required, *optional}
    for key in table:
        if key not in known:
            error_ = unknown_name("key", key, known)
            raise PlanError(f"{path}: {error_.message}", error_.hint)
    if missing := required - set(table):
        raise PlanError(f"{path} lacks {', '.join(sorted(missing))}", f"required are {', '.join(sorted(required))}")
    return table


def load_shape(path: Path) -> ModelShape:
    """A model from a TOML file: `architecture`, the sizes, what departs from the architecture, and `source`.

    `parameters`, when given, is the published count; sizes that do not reproduce it are refused.
    """
    optional = {each.name for each in fields(ModelShape)} - {"name"} | {"parameters"}
    table = read_preset(path, required=["architecture", *SIZES, "tie_embeddings", "source"], optional=optional)
    published = table.pop("parameters", None)
    del table["source"]
    for name, part in _PARTS.items():
        if name in table:
            table[name] = _read_part(path, name, part, table[name])
    shape = ModelShape(name=path.stem, **{**FAMILIES.get(table["architecture"], {}), **table})
    counted = count_parameters(shape).value
    if published not in (None, counted):
        raise PlanError(f"{path}: the sizes give {counted:,} parameters, the file says {published:,}", "one of them is wrong")
    return shape


_PARTS: Final = {"experts": Experts, "latent": LatentAttention, "window": SlidingWindow}


def _read_part(path: Path, name: str, part: type[Any], table: Any) -> Any:
    """A table [experts], [latent] or [window]; `q_rank`, where queries are not compressed, is left out."""
    if not isinstance(table, dict):
        raise PlanError(f"{path}: {name} is {table!r}", f"it is a table: [{name}]")
    known = {each.name for each in fields(part)}
    for key in table:
        if key not in known:
            error = unknown_name(f"key of [{name}]", key, known)
            raise PlanError(f"{path}: {error.message}", error.hint)
    table = {"q_rank": None, **table} if part is LatentAttention else table
    if missing := {each.name for each in fields(part) if each.default is MISSING} - set(table):
        raise PlanError(f"{path}: [{name}] lacks {', '.join(sorted(missing))}", f"required are {', '.join(sorted(known))}")
    return part(**table)


def load_hardware(path: Path) -> Hardware:
    """A device from a TOML file."""
    optional = {each.name for each in fields(Hardware)} - {"name", "compile_gain"}
    table = read_preset(path, required=["title", "kind", "memory_bytes", "source"], optional=optional)
    if "mfu_prior" in table:
        names = {each.name for each in fields(MfuPrior)}
        if set(table["mfu_prior"]) != names:
            raise PlanError(f"{path}: mfu_prior needs exactly the keys {', '.join(sorted(names))}")
        table["mfu_prior"] = MfuPrior(**table["mfu_prior"])
    for key in ("price_usd_per_hour", "spot_usd_per_hour"):
        if isinstance(table.get(key), list):
            if len(table[key]) != 3:
                raise PlanError(f"{path}: {key} {table[key]}", "one price, or three: low, mid, high")
            table[key] = tuple(float(each) for each in table[key])
    if "rates" in table:
        table["rates"] = tuple((int(width), float(rate)) for width, rate in table["rates"])
    return Hardware(name=path.stem, **table)


def load_law(path: Path) -> LossLaw:
    """A loss law from a TOML file, named after it: one that was fitted to runs of one's own."""
    optional = {each.name for each in fields(LossLaw)} - {"name"}
    table = read_preset(path, required=["e", "a", "b", "alpha", "beta", "unit", "source", "corpus"], optional=optional)
    if "fitted_parameters" in table:
        low, high = table["fitted_parameters"]
        table["fitted_parameters"] = (float(low), float(high))
    return LossLaw(name=path.stem, **table)


def find_shape(folder: Path, name: str) -> ModelShape:
    """The model preset of that name; an unknown name is an error that tells the nearest."""
    return load_shape(preset_path(folder, name, "model"))


def find_hardware(folder: Path, name: str) -> Hardware:
    """The hardware preset of that name; an unknown name is an error that tells the nearest."""
    return load_hardware(preset_path(folder, name, "hardware"))
