"""Where text comes from. One module per place or format; every source streams records in a fixed order."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from pathlib import Path

from tuitrain.config.schema import SourceSection
from tuitrain.data.records import row_record
from tuitrain.data.sources.base import END, Gauge, Input, Source
from tuitrain.data.sources.corpus import StdlibSource
from tuitrain.data.sources.files import FileSource
from tuitrain.data.sources.hub import HubSource
from tuitrain.errors import DataError

__all__ = [
    "END",
    "FileSource",
    "Gauge",
    "HubSource",
    "Input",
    "Source",
    "StdlibSource",
    "check_place",
    "open_source",
    "open_validation",
]


def open_source(section: SourceSection, revisions: MutableMapping[str, str]) -> Source:
    """The source of text a configuration section describes."""
    check_place(section)
    if section.path is not None:
        return FileSource(section.path, text_key=section.text_key, glob=section.glob)
    if section.dataset is not None:
        parse = partial(row_record, text_key=section.text_key)
        return HubSource(section.dataset, subset=section.subset, split=section.split, parse=parse, revisions=revisions)
    if section.corpus == "python-docstrings":
        raise DataError(
            "the corpus python-docstrings holds examples, not text to continue",
            'set corpus = "python-stdlib", or fine-tune: run.stage = "sft"',
        )
    return StdlibSource()


def check_place(section: SourceSection) -> None:
    """One place to read from, neither none nor two."""
    given = [name for name in ("corpus", "path", "dataset") if getattr(section, name) is not None]
    if len(given) != 1:
        raise DataError(
            f"a source names {' and '.join(given) or 'nothing to read'}",
            "give each source exactly one of corpus, path and dataset",
        )


def open_validation(section: SourceSection) -> FileSource | None:
    """The held-out text a section names, if it names some."""
    path: Path | None = section.validation_path
    return None if path is None else FileSource(path, text_key=section.text_key)
