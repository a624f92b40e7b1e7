"""Text on disk: one file, or a folder searched recursively. The suffix says how a file is read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Generic

from tuitrain.data.disk import FULL_DISK
from tuitrain.data.records import BadRow, Document, row_record
from tuitrain.data.sources.base import END, Gauge, Input, T
from tuitrain.data.sources.compressed import inner_name, is_compressed, open_stream
from tuitrain.data.sources.row_files import ROW_SUFFIXES, read_rows
from tuitrain.data.sources.text import PART_BYTES, read_text
from tuitrain.errors import DataError

MIN_PART_BYTES = 4096
SOLE_FILE_PARTS = 100
"""A source that is a single text file is read in about this many parts, so there is something to hold out."""
_EXPANSION = 4
"""Guess of how far text decompresses; only the size of the parts of a single compressed file depends on it."""


class Files(Generic[T]):
    """A file or a folder. Hidden files and folders, and `__pycache__`, are left out of a folder."""

    def __init__(self, path: Path, *, glob: str = "**/*") -> None:
        self.path, self.glob = path, glob

    @property
    def name(self) -> str:
        """The path as the configuration gives it."""
        return str(self.path)

    def inputs(self) -> list[Input]:
        """The files, sorted by their path below the folder."""
        if self.path.is_dir():
            try:
                found = {
                    file.relative_to(self.path).as_posix(): file for file in self.path.glob(self.glob) if _is_content(file)
                }
            except (ValueError, NotImplementedError) as error:
                raise DataError(
                    f"the glob {self.glob!r} is none ({error})", 'write it relative to the folder: "**/*.txt"'
                ) from error
            items = [_input(name, file) for name, file in sorted(found.items()) if not _is_hidden(name)]
            if not items:
                raise DataError(f"no file in {self.path} matches {self.glob!r}", "check the source's path and glob")
        elif self.path.exists():
            items = [_input(self.path.name, self.path)]
        else:
            raise DataError(f"the source {self.path} does not exist", "check the source's path")
        return items

    def read(self, item: Input, *, after: int, gauge: Gauge) -> Iterator[T | BadRow]:
        """Records of one file; whatever stops its reading is one more bad row at the end."""
        if after >= END:
            return
        where = self.name if item.path == self.path else f"{self.name}/{item.name}"
        any_read = False
        try:
            for record in self._records(item, where, after, gauge):
                any_read = True
                if record.index > after:
                    yield record
            return
        except (OSError, EOFError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno in FULL_DISK:
                raise
            kind = "truncated" if isinstance(error, EOFError) else "unreadable"
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        problem = f"{reason}; the rest of the file is left out" if any_read or after else reason
        yield BadRow(where=f"{where}:{gauge.line}", kind=kind, problem=problem, index=END)

    def _records(self, item: Input, where: str, after: int, gauge: Gauge) -> Iterator[T | BadRow]:
        """Records of one file; may leave out those up to `after`, and raise what opening and decompressing raise."""
        raise NotImplementedError


class FileSource(Files[Document]):
    """Text: whole files or parts of them, and one column of rows."""

    def __init__(self, path: Path, *, text_key: str = "text", glob: str = "**/*") -> None:
        super().__init__(path, glob=glob)
        self.text_key = text_key
        self._part_bytes = PART_BYTES

    def inputs(self) -> list[Input]:
        """The files, sorted by their path below the folder."""
        items = super().inputs()
        if len(items) == 1 and items[0].path is not None:
            size_bytes = items[0].size_bytes * (_EXPANSION if is_compressed(items[0].path) else 1)
            self._part_bytes = min(PART_BYTES, max(MIN_PART_BYTES, size_bytes // SOLE_FILE_PARTS))
        return items

    def _records(self, item: Input, where: str, after: int, gauge: Gauge) -> Iterator[Document | BadRow]:
        assert item.path is not None
        if inner_name(item.path).endswith(ROW_SUFFIXES):
            parse = partial(row_record, text_key=self.text_key)
            yield from read_rows(item, where, after=after, gauge=gauge, parse=parse, column=self.text_key)
            return
        with open_stream(item.path, gauge) as stream:
            yield from read_text(stream, where, gauge=gauge, part_bytes=self._part_bytes, after=after)


def _input(name: str, path: Path) -> Input:
    try:
        return Input(name=name, path=path, size_bytes=path.stat().st_size)
    except OSError:
        return Input(name=name, path=path)


def _is_content(path: Path) -> bool:
    """Regular files, and links that lead nowhere: those are bad rows, not silence."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))
