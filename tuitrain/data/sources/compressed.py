"""Open a file for reading, whatever it is compressed with. Truncation is an error, never a quiet end.

zstandard's own stream reader ends silently on a truncated frame, hence the small reader here.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, BinaryIO, cast

from tuitrain.data.extras import load_extra
from tuitrain.data.sources.base import Gauge

BUFFER_BYTES = 1 << 20
_ZSTD_CHUNK_BYTES = 4096
"""Fed to the decompressor at once. A frame of one repeated byte expands 32,000-fold, so this bounds memory at 128 MiB."""


def inner_name(path: PurePath) -> str:
    """The file name without its compression suffix, in lower case: `Data.JSONL.gz` is `data.jsonl`."""
    name = path.name.lower()
    return name.removesuffix(".gz").removesuffix(".zst") if name.endswith((".gz", ".zst")) else name


def is_compressed(path: PurePath) -> bool:
    """Whether the suffix says so."""
    return path.suffix.lower() in (".gz", ".zst")


@contextmanager
def open_stream(path: Path, gauge: Gauge) -> Iterator[BinaryIO]:
    """The decompressed content. Raises OSError, EOFError or zlib.error when it is broken."""
    gauge.bytes_done, gauge.line = 0, 1
    with path.open("rb", buffering=0) as raw:
        counted = io.BufferedReader(_Counted(raw, gauge), BUFFER_BYTES)
        match path.suffix.lower():
            case ".gz":
                content: Any = gzip.GzipFile(fileobj=counted)
            case ".zst":
                content = _Zstd(cast(BinaryIO, counted))
            case _:
                yield cast(BinaryIO, counted)
                return
        with content:
            yield cast(BinaryIO, io.BufferedReader(content, BUFFER_BYTES))


class _Counted(io.RawIOBase):
    """Counts what is read from the disk."""

    def __init__(self, raw: io.RawIOBase, gauge: Gauge) -> None:
        self._raw, self._gauge = raw, gauge

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._raw.readinto(buffer) or 0
        self._gauge.bytes_done += count
        return count


class _Zstd(io.RawIOBase):
    """Decompress zstandard frames one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        zstandard = load_extra("zstandard", "reading .zst files")
        self._file, self._error = file, zstandard.ZstdError
        self._context = zstandard.ZstdDecompressor(max_window_size=2**31)
        self._frame: Any = None
        self._input, self._output = b"", b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            chunk, self._input = self._input or self._file.read(_ZSTD_CHUNK_BYTES), b""
            if not chunk:
                if self._frame is not None:
                    raise EOFError("compressed file ended before the end-of-stream marker was reached")
                return 0
            self._output = self._decompress(chunk)
        count = min(len(buffer), len(self._output))
        buffer[:count], self._output = self._output[:count], self._output[count:]
        return count

    def _decompress(self, chunk: bytes) -> bytes:
        """What the chunk gives; the part of it that belongs to the next frame is kept."""
        if self._frame is None:
            self._frame = self._context.decompressobj()
        try:
            output = self._frame.decompress(chunk)
        except self._error as error:
            raise OSError(f"broken zstandard data ({error})") from error
        if self._frame.eof:
            self._input, self._frame = self._frame.unused_data, None
        return cast(bytes, output)
