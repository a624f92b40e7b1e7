"""Tokenised examples on disk: ids, which of them are trained, where each example begins. Written once, mapped into memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuitrain.data.chat.masks import Masked
from tuitrain.files import fsync_dir, read_json, write_json

_ARRAYS = ("ids", "trained", "offsets", "prompts", "liked")


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """One example out of a set."""

    ids: NDArray[np.int64]
    trained: NDArray[np.bool_]
    where: str


class TokenizedSet:
    """Many examples, or pairs of them: of preferences, 2 k is the better answer of pair k and 2 k + 1 the worse."""

    def __init__(self, arrays: dict[str, NDArray[Any]], where: Sequence[str], content_hash: str) -> None:
        self._ids, self._trained = arrays["ids"], arrays["trained"]
        self.offsets: NDArray[np.int64] = arrays["offsets"]
        self.prompts: NDArray[np.int32] = arrays["prompts"]
        """Tokens of each before its answer."""
        self.liked: NDArray[np.int8] = arrays["liked"]
        """1 and 0 for judged answers, -1 for all others."""
        self.where, self.content_hash = list(where), content_hash
        self.lengths: NDArray[np.int64] = np.diff(self.offsets)
        before = np.concatenate([[0], np.cumsum(self._trained, dtype=np.int64)])
        self.trained_counts: NDArray[np.int64] = np.diff(before[self.offsets])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> TokenizedExample:
        span = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return TokenizedExample(
            np.asarray(self._ids[span], np.int64), np.asarray(self._trained[span], np.bool_), self.where[index]
        )

    @property
    def num_tokens(self) -> int:
        """All of them."""
        return int(self.lengths.sum())

    @property
    def num_trained(self) -> int:
        """Tokens with a loss."""
        return int(self.trained_counts.sum())


@dataclass(slots=True)
class SetBuilder:
    """Examples being gathered."""

    ids: list[NDArray[np.uint32]] = field(default_factory=list)
    trained: list[NDArray[np.bool_]] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)
    liked: list[int] = field(default_factory=list)
    where: list[str] = field(default_factory=list)

    def add(self, masked: Masked, where: str, *, liked: int = -1) -> None:
        """One more."""
        self.ids.append(np.array(masked.ids, np.uint32))
        self.trained.append(np.array(masked.trained, np.bool_))
        self.prompts.append(masked.prompt_tokens)
        self.liked.append(liked)
        self.where.append(where)

    def save(self, folder: Path, content_hash: str) -> None:
        """Write the set; its manifest comes last, so a folder without one is none."""
        folder.mkdir(parents=True, exist_ok=True)
        lengths = [len(each) for each in self.ids]
        others = {len(each) for each in (self.trained, self.prompts, self.liked, self.where)}
        assert others == {len(lengths)}, f"{len(lengths)} examples, but {sorted(others)} masks, prompts, judgements, places"
        assert lengths == [len(each) for each in self.trained], "an example's mask has another length than its ids"
        arrays: dict[str, NDArray[Any]] = {
            "ids": np.concatenate(self.ids) if self.ids else np.zeros(0, np.uint32),
            "trained": np.concatenate(self.trained) if self.trained else np.zeros(0, np.bool_),
            "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            "prompts": np.array(self.prompts, np.int32),
            "liked": np.array(self.liked, np.int8),
        }
        for name, array in arrays.items():
            with (folder / f"{name}.npy").open("wb") as file:
                np.save(file, array)
        (folder / "where.json").write_text(json.dumps(self.where), encoding="utf-8")
        write_json(folder / "set.json", {"version": 1, "examples": len(lengths), "content_hash": content_hash})
        fsync_dir(folder)


def open_set(folder: Path) -> TokenizedSet | None:
    """The set in a folder; None where there is no whole one."""
    manifest, where = read_json(folder / "set.json"), read_json(folder / "where.json")
    if not isinstance(manifest, dict) or not isinstance(where, list):
        return None
    try:
        # Mapping an empty array is refused by the operating system.
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r" if manifest["examples"] else None, allow_pickle=False)
            for name in _ARRAYS
        }
    except (OSError, ValueError):
        return None
    return TokenizedSet(arrays, where, manifest["content_hash"])
