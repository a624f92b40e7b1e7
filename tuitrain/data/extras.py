"""Import what only the extra `train` brings, where it is used. A missing package is an error with the command that mends it."""

from __future__ import annotations

import importlib
from typing import Any

from tuitrain.errors import MissingExtraError


def load_extra(package: str, purpose: str) -> Any:
    """The imported package, or MissingExtraError."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package.partition(".")[0]:
            raise
        raise MissingExtraError(package.partition(".")[0], "train", purpose) from error
