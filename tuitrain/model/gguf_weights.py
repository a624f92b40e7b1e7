"""The weights of a Hugging Face folder, read one tensor at a time: one safetensors file, or several with an index."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from tuitrain.errors import CheckpointError
from tuitrain.files import read_json


class Weights:
    """The safetensors files of a folder. Open while in use; a tensor is read when asked for."""

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError, safe_open

        index = read_json(folder / "model.safetensors.index.json")
        names = sorted(set(index["weight_map"].values())) if index else ["model.safetensors"]
        self._stack = ExitStack()
        self._slices: dict[str, Any] = {}
        try:
            for name in names:
                file = self._stack.enter_context(safe_open(folder / name, framework="pt"))
                self._slices |= {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError) as error:
            self._stack.close()
            raise CheckpointError(f"{folder.name}/{name} cannot be read: {error}", "write the folder anew") from error

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(part.get_shape()) for name, part in self._slices.items()}

    def read(self, name: str, at: tuple[int | slice, ...] = ()) -> Tensor:
        """The tensor, or the part `at` of it, as float32."""
        part: Tensor = self._slices[name][at or slice(None)] if self._slices[name].get_shape() else self._slices[name][...]
        return part.float()
