"""Do all processes run the same? Asked once, before anything is built: what differs is named, with who has which.

Different versions compute different sums, and a different configuration hangs in the first collective that only some reach.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from tuitrain import __version__
from tuitrain.config.resolved import Resolved
from tuitrain.errors import EnvironmentError_
from tuitrain.trainer.parallel.world import World

PACKAGES = ("torch", "transformers")


def require_agreement(world: World, resolved: Resolved) -> None:
    """EnvironmentError_, on every process, when versions or configuration are not the same on all."""
    if world.size == 1:
        return
    said = differences(world.gather(facts(resolved)))
    if said:
        raise EnvironmentError_(
            f"the processes do not run the same: {'; '.join(said)}",
            "start all of them from one installation and one run folder",
        )


def facts(resolved: Resolved) -> dict[str, Any]:
    """What has to be equal: versions by name, and the configuration by key."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    config = {
        f"{section}.{key}": repr(value)
        for section, fields in resolved.config.model_dump(mode="json").items()
        for key, value in fields.items()
    }
    return {"tuitrain": __version__, "python": platform.python_version(), **versions, **config}


def differences(by_rank: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per fact that is not the same on all ranks."""
    names = dict.fromkeys(name for each in by_rank for name in each)
    return [
        f"{name} is {who_has_which([each.get(name) for each in by_rank])}"
        for name in names
        if len({each.get(name) for each in by_rank}) > 1
    ]


def who_has_which(values: Sequence[Hashable]) -> str:
    """'a on ranks 0, 2 and b on rank 1'."""
    ranks: dict[Hashable, list[str]] = {}
    for rank, value in enumerate(values):
        ranks.setdefault(value, []).append(str(rank))
    return " and ".join(f"{value} on rank{'s' * (len(who) > 1)} {', '.join(who)}" for value, who in ranks.items())
