"""The environment of our child processes: the packages they find, and nothing from the folder they are started in."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def child_environment() -> dict[str, str]:
    """The environment of a supervisor: our packages findable wherever they lie, nothing from the working directory."""
    env = dict(os.environ, PYTHONSAFEPATH="1", PYTHONUNBUFFERED="1")
    roots = []
    for name in ("tuitrain", "tuitrain_planners", "tuitrain_kernels"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            root = str(Path(spec.origin).parents[1])
            if "site-packages" not in root and root not in roots:
                roots.append(root)
    if roots:
        env["PYTHONPATH"] = os.pathsep.join([*roots, *filter(None, [env.get("PYTHONPATH")])])
    return env
