"""What a preparation gives: a tokenizer, and per source its training and validation tokens."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from tuitrain.data.report import BadRowReport
from tuitrain.data.shards import ShardSet
from tuitrain.data.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedSource:
    """One source. `weight` is its share of the mixture relative to the others."""

    name: str
    weight: float
    train: ShardSet
    validation: ShardSet
    report: BadRowReport
    content_hash: str
    """Hash of the tokens and document borders of both sides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedData:
    """All sources, in the order of the configuration."""

    tokenizer: Tokenizer
    sources: tuple[PreparedSource, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each source, as configured."""
        return tuple(source.weight for source in self.sources)

    @property
    def train_tokens(self) -> int:
        """Tokens to train on, each source once."""
        return sum(source.train.num_tokens for source in self.sources)

    @property
    def validation_tokens(self) -> int:
        """Tokens held out."""
        return sum(source.validation.num_tokens for source in self.sources)

    @property
    def train_documents(self) -> int:
        """Documents to train on."""
        return sum(source.train.num_documents for source in self.sources)

    @property
    def validation_documents(self) -> int:
        """Documents held out."""
        return sum(source.validation.num_documents for source in self.sources)

    @property
    def train_bytes(self) -> int:
        """UTF-8 bytes of the text to train on."""
        return sum(source.train.num_bytes for source in self.sources)

    @property
    def validation_bytes(self) -> int:
        """UTF-8 bytes of the text held out."""
        return sum(source.validation.num_bytes for source in self.sources)

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of text per token, end-of-text tokens counted, both sides together."""
        return (self.train_bytes + self.validation_bytes) / (self.train_tokens + self.validation_tokens)

    @property
    def report(self) -> BadRowReport:
        """Rows of all sources that could not be read."""
        report = BadRowReport()
        for source in self.sources:
            report.merge(source.report)
        return report

    @property
    def content_hash(self) -> str:
        """Changes when any batch could hold other tokens: tokenizer, texts, split, order of sources, or weights."""
        parts = [[source.content_hash, repr(source.weight)] for source in self.sources]
        return hashlib.sha256(json.dumps([self.tokenizer.content_hash, parts]).encode()).hexdigest()
