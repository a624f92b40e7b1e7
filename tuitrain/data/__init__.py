"""From text to batches: sources, tokenizer, shards, order, packing. Must not import torch, Textual or Typer.

Names are imported when they are first used, so `import tuitrain.data` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuitrain.data.batch import IGNORED, Batch
    from tuitrain.data.bpe import EOS, PATTERN, train_bpe
    from tuitrain.data.loader import Loader
    from tuitrain.data.mixture import Mixture
    from tuitrain.data.order import Permutation
    from tuitrain.data.preparation import prepare
    from tuitrain.data.prepared import PreparedData, PreparedSource
    from tuitrain.data.progress import Progress
    from tuitrain.data.published import published_tokenizer
    from tuitrain.data.records import BadRow, Document
    from tuitrain.data.report import BadRowReport
    from tuitrain.data.shards import CorruptShardsError, ShardSet
    from tuitrain.data.sources import open_source
    from tuitrain.data.tokenizer import Tokenizer
    from tuitrain.data.validation import ValidationSet, validation_batches

__all__ = [
    "EOS",
    "IGNORED",
    "PATTERN",
    "BadRow",
    "BadRowReport",
    "Batch",
    "CorruptShardsError",
    "Document",
    "Loader",
    "Mixture",
    "Permutation",
    "PreparedData",
    "PreparedSource",
    "Progress",
    "ShardSet",
    "Tokenizer",
    "ValidationSet",
    "open_source",
    "prepare",
    "published_tokenizer",
    "train_bpe",
    "validation_batches",
]

_MODULES = {
    "batch": ("IGNORED", "Batch"),
    "bpe": ("EOS", "PATTERN", "train_bpe"),
    "loader": ("Loader",),
    "mixture": ("Mixture",),
    "order": ("Permutation",),
    "preparation": ("prepare",),
    "prepared": ("PreparedData", "PreparedSource"),
    "progress": ("Progress",),
    "published": ("published_tokenizer",),
    "records": ("BadRow", "Document"),
    "report": ("BadRowReport",),
    "shards": ("CorruptShardsError", "ShardSet"),
    "sources": ("open_source",),
    "tokenizer": ("Tokenizer",),
    "validation": ("ValidationSet", "validation_batches"),
}
# No module bears the name of something exported: importing it would put the module in the other's place.
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
