"""The tokenizer a configuration asks for: published, from a file, or learnt on the training documents and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from tuitrain.config.schema import TokenizerSection
from tuitrain.data.bpe import DEFAULT_VOCAB_SIZE, EOS, PATTERN, train_bpe
from tuitrain.data.disk import exclusive
from tuitrain.data.progress import Listener, Progress
from tuitrain.data.published import published_tokenizer
from tuitrain.data.records import BadRow, Document, bad_row_error
from tuitrain.data.stream import SourceStream
from tuitrain.data.tokenizer import Tokenizer
from tuitrain.errors import DataError, UsageError
from tuitrain.files import write_json

SAMPLE_BYTES = 64 << 20
"""Text a vocabulary is learnt on. More changes few entries of it, and costs time and memory in proportion."""
_SAMPLED_INPUTS = 64
_DOCUMENT_CHARS = 1 << 20
"""Of one document at most, so that no single one fills the sample."""
_TRAINING_VERSION = 1


def choose_tokenizer(
    section: TokenizerSection, streams: Sequence[SourceStream], *, vocab_size: int | None, cache_dir: Path,
    on_error: Literal["skip", "fatal"], progress: Listener,
) -> Tokenizer:  # fmt: skip
    """`vocab_size` is what the configuration's `auto` was resolved to; it is used only where a vocabulary is learnt."""
    match section.kind:
        case "tiktoken":
            if section.name is None:
                raise UsageError('tokenizer.kind is "tiktoken", but tokenizer.name is not set', 'try tokenizer.name = "gpt2"')
            return published_tokenizer(section.name)
        case "file":
            if section.path is None:
                raise UsageError(
                    'tokenizer.kind is "file", but tokenizer.path is not set', "name a tokenizer.json or its folder"
                )
            return Tokenizer.from_file(section.path)
    size = vocab_size or (section.vocab_size if isinstance(section.vocab_size, int) else DEFAULT_VOCAB_SIZE)
    identity = {
        "version": _TRAINING_VERSION,
        "pattern": PATTERN,
        "vocab_size": size,
        "sample_bytes": SAMPLE_BYTES,
        "sources": [stream.identity() for stream in streams],
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache_dir / "tokenizers" / key

    def say(phase: str, detail: str) -> Callable[[], None]:
        return lambda: progress(Progress(phase=phase, detail=detail))

    with exclusive(folder.with_suffix(".lock"), say("wait", "another process is learning this vocabulary")):
        if (known := _load(folder)) is not None:
            return known
        say("tokenizer", f"learning {size:,} entries")()
        texts = _sample(streams, on_error)
        text = train_bpe(texts, size)
        tokenizer = Tokenizer.from_json(text, name=f"bpe-{size}", eos=EOS)
        tokenizer.save(folder)
        write_json(
            folder / "learnt.json", {"content_hash": tokenizer.content_hash, "name": tokenizer.name}
        )  # last: it is whole
        return tokenizer


def _load(folder: Path) -> Tokenizer | None:
    try:
        learnt = json.loads((folder / "learnt.json").read_text(encoding="utf-8"))
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_json(text, name=learnt["name"], eos=EOS)
    except (OSError, ValueError, KeyError, DataError):
        return None
    return tokenizer if tokenizer.content_hash == learnt["content_hash"] else None


def _sample(streams: Sequence[SourceStream], on_error: Literal["skip", "fatal"]) -> list[str]:
    """Training text of every source in equal parts whatever the weights, so that re-weighting keeps the vocabulary.

    From a source of many inputs, a fixed random choice of them; from one long input its beginning.
    """
    texts: list[str] = []
    bad: list[BadRow] = []
    for stream in streams:
        inputs = sorted(stream.training_inputs(), key=lambda number: _shuffled(stream.input_name(number)))
        budget = SAMPLE_BYTES // len(streams)
        share = max(_DOCUMENT_CHARS, budget // max(1, min(len(inputs), _SAMPLED_INPUTS)))
        for number in inputs:
            if budget <= 0:
                break
            used = 0
            for text in _texts(stream, number, on_error, bad):
                texts.append(text[:_DOCUMENT_CHARS])
                used += len(texts[-1])
                if used >= min(share, budget):
                    break
            budget -= used
    if not texts:
        names = ", ".join(stream.name for stream in streams)
        first = f" (the first bad row: {bad[0].where}: {bad[0].problem})" if bad else ""
        raise DataError(f"no readable training document in {names}{first}", "check the sources' path, glob and text_key")
    return texts


def _texts(stream: SourceStream, number: int, on_error: Literal["skip", "fatal"], bad: list[BadRow]) -> Iterator[str]:
    for record in stream.training_records(number):
        if isinstance(record, Document):
            yield record.text
        elif on_error == "fatal":
            raise bad_row_error(record)
        elif not bad:
            bad.append(record)


def _shuffled(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
