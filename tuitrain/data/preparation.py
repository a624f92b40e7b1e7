"""From configured sources to tokens on disk: scan, choose the tokenizer, tokenise what the cache does not hold.

    <cache>/fingerprints.json       hashes of files, so that nothing unchanged is read again
    <cache>/tokenizers/<key>/       vocabularies learnt here
    <cache>/tokens/<key>/           one entry per source; its key is content, split and tokenizer, never weight or place

Any number of processes may prepare at once: one works, the others wait and take what it made. A process that dies, at any
moment, leaves its finished pieces; the next one goes on from there, and the result is the same to the byte.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from tuitrain.config.schema import DataSection, TokenizerSection
from tuitrain.data.choose_tokenizer import choose_tokenizer
from tuitrain.data.disk import disk_errors, exclusive
from tuitrain.data.entry import ENTRY_VERSION, Entry, OpenedEntry
from tuitrain.data.fingerprint import Fingerprints
from tuitrain.data.prepared import PreparedData, PreparedSource
from tuitrain.data.progress import Listener, Progress
from tuitrain.data.records import bad_row_error
from tuitrain.data.report import BadRowReport
from tuitrain.data.shard_writer import SHARD_TOKENS
from tuitrain.data.shards import token_dtype
from tuitrain.data.stream import SourceStream
from tuitrain.data.tokenize import tokenize
from tuitrain.data.tokenizer import Tokenizer
from tuitrain.errors import DataError

_BYTES_PER_TOKEN = 3.0
"""Guess for the size of what is still to be written, before anything is known."""


def prepare(
    data: DataSection, tokenizer: TokenizerSection, *, vocab_size: int | None, cache_dir: Path, threads: int,
    progress: Listener, verify: bool = False, shard_tokens: int = SHARD_TOKENS,
) -> PreparedData:  # fmt: skip
    """Everything the configuration names, as tokens. `verify` also compares the hashes of what the cache already holds."""
    if not data.sources:
        raise DataError("data.sources is empty", 'name at least one source, for example corpus = "python-stdlib"')
    work = _Work()
    with disk_errors(cache_dir, work.needed_bytes):
        cache_dir.mkdir(parents=True, exist_ok=True)
        fingerprints = Fingerprints(cache_dir / "fingerprints.json")
        streams = [_scan(data, number, fingerprints, progress) for number in range(len(data.sources))]
        fingerprints.save()
        chosen = choose_tokenizer(
            tokenizer, streams, vocab_size=vocab_size, cache_dir=cache_dir, on_error=data.on_error, progress=progress
        )
        work.start(streams, token_dtype(chosen.vocab_size))
        sources = []
        for stream in streams:
            opened = _prepare_source(stream, chosen, data, cache_dir, threads, progress, verify, shard_tokens)
            sources.append(_checked(stream, opened, data))
            work.done(stream)
    prepared = PreparedData(tokenizer=chosen, sources=tuple(sources))
    documents = prepared.train_documents + prepared.validation_documents
    progress(Progress(phase="done", documents=documents, tokens=prepared.train_tokens + prepared.validation_tokens))
    return prepared


def _scan(data: DataSection, number: int, fingerprints: Fingerprints, progress: Listener) -> SourceStream:
    done = 0

    def scanned(count: int) -> None:
        nonlocal done
        done += count
        progress(Progress(phase="scan", source=name, bytes_done=done))

    section = data.sources[number]
    name = section.corpus or str(section.path or section.dataset)
    return SourceStream(section, data.validation_frac, fingerprints, scanned)


def _prepare_source(
    stream: SourceStream, tokenizer: Tokenizer, data: DataSection, cache_dir: Path, threads: int, progress: Listener,
    verify: bool, shard_tokens: int,
) -> OpenedEntry:  # fmt: skip
    identity = {
        "version": ENTRY_VERSION,
        "source": stream.identity(),
        "tokenizer": tokenizer.content_hash,
        "shard_tokens": shard_tokens,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    entry = Entry(cache_dir / "tokens" / key, token_dtype(tokenizer.vocab_size))

    def waiting() -> None:
        progress(Progress(phase="wait", source=stream.name, detail="another process is preparing it"))

    with exclusive(entry.folder.with_suffix(".lock"), waiting):
        opened = entry.open(verify=verify)
        if opened is None:
            pieces = tokenize(
                stream, entry, tokenizer, threads=threads, on_error=data.on_error, shard_tokens=shard_tokens, verify=verify,
                progress=progress,
            )  # fmt: skip
            _check_documents(stream, entry.write_report(pieces), any(any(piece.shards.values()) for piece in pieces))
            entry.finish(pieces)
            opened = entry.open(verify=False)
    assert opened is not None, f"entry {entry.folder} is not whole right after it was written"
    return opened


def _check_documents(stream: SourceStream, report: BadRowReport, any_documents: bool) -> None:
    if not any_documents:
        first = f"; the first: {report.named[0].where}: {report.named[0].problem}" if report.named else ""
        raise DataError(
            f"no readable document in {stream.name} ({report.summary()}{first})", "check the source's path, glob and text_key"
        )


def _checked(stream: SourceStream, opened: OpenedEntry, data: DataSection) -> PreparedSource:
    """Both sides hold documents, and nothing bad was passed over against `data.on_error`."""
    if data.on_error == "fatal" and opened.report.named:
        raise bad_row_error(opened.report.named[0])
    total = opened.train.num_documents + opened.validation.num_documents
    for side, shards in (("training", opened.train), ("validation", opened.validation)):
        if not shards.num_documents:
            raise DataError(
                f"{stream.name}: none of its {total:,} documents is a {side} document at data.validation_frac = "
                f"{data.validation_frac}",
                "give the source a validation_path, more documents, or another data.validation_frac",
            )
    return PreparedSource(
        name=stream.name, weight=stream.section.weight, train=opened.train, validation=opened.validation,
        report=opened.report, content_hash=opened.content_hash,
    )  # fmt: skip


class _Work:
    """How many bytes are still to be written, for the message about a full disk."""

    def __init__(self) -> None:
        self._streams: list[SourceStream] = []
        self._token_bytes = 2

    def start(self, streams: list[SourceStream], dtype: np.dtype[np.generic]) -> None:
        self._streams, self._token_bytes = list(streams), dtype.itemsize

    def done(self, stream: SourceStream) -> None:
        self._streams.remove(stream)

    def needed_bytes(self) -> int:
        left = sum(stream.bytes_total - stream.bytes_done for stream in self._streams)
        return max(1 << 20, int(left / _BYTES_PER_TOKEN * self._token_bytes))
