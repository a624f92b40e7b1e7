"""A Hugging Face dataset, streamed row by row. No code of the dataset is ever run. Needs the package `datasets`.

The revision is looked up once and pinned, so a preparation that is resumed reads the same rows. Without a network the
revision last seen is used, and with it whatever has been prepared from it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any, Generic

from tuitrain.data.records import BadRow
from tuitrain.data.sources.base import Gauge, Input, ParseRow, T
from tuitrain.errors import EnvironmentError_


class HubSource(Generic[T]):
    """One split of a dataset. `revisions` remembers the revision of each dataset between runs."""

    def __init__(
        self, dataset: str, *, subset: str | None, split: str, parse: ParseRow[T], revisions: MutableMapping[str, str]
    ) -> None:
        self.dataset, self.subset, self.split = dataset, subset, split
        self._parse, self._revisions = parse, revisions

    @property
    def name(self) -> str:
        """As a person would write it: `owner/name (subset) [split]`."""
        return self.dataset + (f" ({self.subset})" if self.subset else "") + f" [{self.split}]"

    def inputs(self) -> list[Input]:
        """The one stream; its name holds the revision."""
        return [Input(name=f"{self.dataset}/{self.subset or ''}/{self.split}@{self._revision()}", path=None)]

    def read(self, item: Input, *, after: int, gauge: Gauge) -> Iterator[T | BadRow]:
        """Records of the rows after row `after`."""
        datasets = _import("datasets")
        revision = item.name.rpartition("@")[2]
        try:
            rows = datasets.load_dataset(self.dataset, self.subset, split=self.split, streaming=True, revision=revision)
            for index, row in enumerate(rows.skip(after) if after else rows, start=after + 1):
                gauge.line = index + 1
                yield self._parse(row, where=f"{self.name}:{index}", index=index)
        except Exception as error:  # a remote service behind three client libraries: anything may come
            raise EnvironmentError_(
                f"the dataset {self.name} cannot be read: {_first_line(error)}",
                "check its name, subset and split, and the network; what was prepared so far is kept",
            ) from error

    def _revision(self) -> str:
        hub = _import("huggingface_hub")
        try:
            revision = str(hub.HfApi().dataset_info(self.dataset, timeout=20).sha)
        except Exception as error:  # as above
            if (known := self._revisions.get(self.dataset)) is not None:
                return known
            raise EnvironmentError_(
                f"the dataset {self.dataset!r} cannot be found: {_first_line(error)}", "check its name and the network"
            ) from error
        self._revisions[self.dataset] = revision
        return revision


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        message = f"Hugging Face datasets need the package {package!r}, which is not installed"
        raise EnvironmentError_(message, "pip install datasets") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]
