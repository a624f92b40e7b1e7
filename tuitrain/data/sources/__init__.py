"""Where text comes from. One module per place or format; every source streams records in a fixed order."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

from tuitrain.config.schema import SourceSection
from tuitrain.data.sources.base import END, Gauge, Input, Source
from tuitrain.data.sources.corpus import StdlibSource
from tuitrain.data.sources.files import FileSource
from tuitrain.data.sources.hub import HubSource
from tuitrain.errors import DataError

__all__ = ["END", "FileSource", "Gauge", "HubSource", "Input", "Source", "StdlibSource", "open_source", "open_validation"]


def open_source(section: SourceSection, revisions: MutableMapping[str, str]) -> Source:
    """The source a configuration section describes."""
    given = [name for name in ("corpus", "path", "dataset") if getattr(section, name) is not None]
    if len(given) != 1:
        raise DataError(
            f"a source names {' and '.join(given) or 'nothing to read'}",
            "give each source exactly one of corpus, path and dataset",
        )
    if section.path is not None:
        return FileSource(section.path, text_key=section.text_key, glob=section.glob)
    if section.dataset is not None:
        return HubSource(
            section.dataset, subset=section.subset, split=section.split, text_key=section.text_key, revisions=revisions
        )
    return StdlibSource()


def open_validation(section: SourceSection) -> FileSource | None:
    """The held-out text a section names, if it names some."""
    path: Path | None = section.validation_path
    return None if path is None else FileSource(path, text_key=section.text_key)
