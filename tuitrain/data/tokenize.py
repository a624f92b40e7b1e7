"""Turn the documents of a source into the shards of a cache entry. Memory stays bounded, and any moment is a good one to die.

What has been written depends on the documents alone: not on the number of threads, nor on how often it was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np

from tuitrain.data.codec import Ids
from tuitrain.data.entry import Entry, Piece, PieceWriter
from tuitrain.data.progress import Listener, Progress
from tuitrain.data.records import BadRow, Document, bad_row_error
from tuitrain.data.stream import Placed, Position, SourceStream
from tuitrain.data.tokenizer import Tokenizer

_BATCH_CHARS = 4 << 20
_BATCH_RECORDS = 8192


def tokenize(
    stream: SourceStream, entry: Entry, tokenizer: Tokenizer, *, threads: int, on_error: Literal["skip", "fatal"],
    shard_tokens: int, verify: bool, progress: Listener,
) -> list[Piece]:  # fmt: skip
    """Do the pieces that are not done yet; return all of them. Raises for the first bad row when `on_error` is `fatal`."""
    pieces = entry.finished_pieces(verify=verify)
    entry.begin(len(pieces))
    position = pieces[-1].after if pieces else Position()
    documents, tokens = _totals(pieces)
    writer, written = PieceWriter(entry, number=len(pieces), shard_tokens=shard_tokens), 0
    try:
        for batch in _encoded(stream.read(position), tokenizer, threads):
            for placed, ids in batch:
                if isinstance(placed.record, BadRow):
                    if on_error == "fatal":
                        raise bad_row_error(placed.record)
                    writer.report.add(placed.record)
                else:
                    side = "validation" if placed.held_out else "train"
                    if not writer.has_room(side, len(ids)):
                        pieces.append(writer.commit(position))
                        writer, written = PieceWriter(entry, number=len(pieces), shard_tokens=shard_tokens), 0
                    writer.add(side, ids, len(placed.record.text.encode("utf-8")))
                    documents, tokens = documents + 1, tokens + len(ids)
                position, written = placed.position, written + 1
            progress(
                Progress(
                    phase="tokenize", source=stream.name, bytes_done=stream.bytes_done, bytes_total=stream.bytes_total or None,
                    documents=documents, tokens=tokens,
                )
            )  # fmt: skip
        if written:
            pieces.append(writer.commit(position))
    except BaseException:
        writer.abort()
        raise
    return pieces


def _encoded(records: Iterator[Placed], tokenizer: Tokenizer, threads: int) -> Iterator[list[tuple[Placed, Ids]]]:
    """Batches of records with the ids of their documents, the end-of-text token included. Reads one batch ahead."""
    with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as ahead:
        waiting: Future[list[tuple[Placed, Ids]]] | None = None
        for batch in _batches(records):
            following = ahead.submit(_encode_batch, batch, tokenizer, threads)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _encode_batch(batch: list[Placed], tokenizer: Tokenizer, threads: int) -> list[tuple[Placed, Ids]]:
    texts = [placed.record.text for placed in batch if isinstance(placed.record, Document)]
    encoded = iter(tokenizer.encode_batch(texts, threads))
    eos, nothing = np.array([tokenizer.eos_id], np.uint32), np.empty(0, np.uint32)
    return [
        (placed, np.concatenate([next(encoded), eos]) if isinstance(placed.record, Document) else nothing) for placed in batch
    ]


def _batches(records: Iterator[Placed]) -> Iterator[list[Placed]]:
    batch: list[Placed] = []
    chars = 0
    for placed in records:
        batch.append(placed)
        chars += len(placed.record.text) if isinstance(placed.record, Document) else 0
        if chars >= _BATCH_CHARS or len(batch) >= _BATCH_RECORDS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _totals(pieces: list[Piece]) -> tuple[int, int]:
    shards = [shard for piece in pieces for side in piece.shards.values() for shard in side]
    return sum(shard.documents for shard in shards), sum(shard.tokens for shard in shards)
