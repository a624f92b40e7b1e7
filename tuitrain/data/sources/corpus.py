"""The embedded corpus: the source of the running Python's own standard library, about 12 MB. No download, on every machine.

Test suites are left out, and files that differ from machine to machine. A file is held out by the hash of its path below the
library, so the split is the same wherever the same Python runs.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tuitrain.data.records import Document, Record
from tuitrain.data.sources.base import Gauge, Input
from tuitrain.data.sources.files import FileSource
from tuitrain.errors import DataError

NAME = "python-stdlib"
LEFT_OUT_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "lib2to3", "lib-dynload", "__pycache__"}
)
_MACHINE_FOLDER, _MACHINE_FILE = "config-", "_sysconfigdata"
"""Build settings: full of this machine's paths."""


class StdlibSource:
    """Every .py file of the standard library that is not empty, sorted by path."""

    name = NAME

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(sysconfig.get_path("stdlib"))
        self._files = FileSource(self.root)

    def inputs(self) -> list[Input]:
        """The files, in an order that depends on their names alone."""
        items = []
        for folder, subfolders, files in os.walk(self.root):
            subfolders[:] = [each for each in subfolders if not _is_left_out(each)]
            for file in files:
                path = Path(folder, file)
                if file.endswith(".py") and not file.startswith(_MACHINE_FILE) and path.stat().st_size:
                    name = path.relative_to(self.root).as_posix()
                    items.append(Input(name=name, path=path, size_bytes=path.stat().st_size))
        if not items:
            raise DataError(
                f"this Python keeps no source of its standard library in {self.root}",
                "give data.sources a path instead, or run under a Python that was installed with its sources",
            )
        return sorted(items, key=lambda item: item.name)

    def read(self, item: Input, *, after: int, gauge: Gauge) -> Iterator[Record]:
        """One file as one document."""
        for record in self._files.read(item, after=after, gauge=gauge):
            where = f"{NAME}/{item.name}:{record.where.rpartition(':')[2]}"
            if isinstance(record, Document):
                yield replace(record, where=where, split_key=item.name)
            else:
                yield replace(record, where=where)


def _is_left_out(folder: str) -> bool:
    return folder in LEFT_OUT_FOLDERS or folder.startswith(_MACHINE_FOLDER)
