"""Writing a safetensors file tensor by tensor, so that a model larger than one process's memory can be put into one file.

The library's own writer takes all tensors at once. The format: 8 bytes of header length, a JSON header that says where each
tensor lies, then the tensors (https://github.com/huggingface/safetensors#format). A tensor may be a process's part of a whole
one; parts are sent to the main process one after the other, and it never holds more than one whole tensor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

from tuitrain.model.shards import local

_CODES: Final = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_ALIGN: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One tensor of a file, as this process has it."""

    name: str
    shape: torch.Size
    """Of the whole."""
    part: Tensor
    """This process's rows; everything where `ranks` is 1."""
    ranks: int = 1
    """Processes that have rows: ranks 0, 1, ... of the run."""
    replica: bool = False
    """Whether others have the same rows and give them."""

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> Piece:
        """A plain tensor, or a cut one. Copies of shards (HSDP) are given by the first group."""
        if isinstance(tensor, DTensor) and Shard(0) not in tensor.placements:
            tensor = tensor.full_tensor()
        if not isinstance(tensor, DTensor):
            return cls(name=name, shape=tensor.shape, part=tensor.detach())
        mesh, axis = tensor.device_mesh, tensor.placements.index(Shard(0))
        outer = [mesh.get_local_rank(other) for other in range(mesh.ndim) if other != axis]
        return cls(
            name=name, shape=tensor.shape, part=local(tensor).detach(), ranks=mesh.size(axis), replica=any(outer)
        )  # fmt: skip

    @property
    def num_bytes(self) -> int:
        """Of the whole."""
        return self.shape.numel() * self.part.element_size()

    def gives(self, rank: int) -> bool:
        """Whether the process has something the file needs."""
        return rank < self.ranks and not self.replica

    def copied(self, rank: int) -> Piece:
        """With a part of its own in host memory, where it gives one: training may go on."""
        part = self.part.to("cpu", copy=True) if self.gives(rank) else self.part.new_empty(0, device="cpu")
        return replace(self, part=part)


def write_stream(
    path: Path | None,
    pieces: Sequence[Piece],
    whole: Callable[[Piece], Tensor | None],
    *,
    moved: Callable[[], None] = lambda: None,
) -> None:
    """Write a file. `whole` brings a piece together, on every process that gives a part of it; without a `path` nobody looks at
    its result. An error of the disk is raised after every process has given all: nobody must wait for a part for ever."""
    ordered = sorted(pieces, key=lambda piece: (-piece.part.element_size(), piece.name))  # keeps every tensor aligned
    failed: OSError | None = None
    file = None
    try:
        if path is not None:
            file = path.open("wb")
            file.write(_header(ordered))
    except OSError as error:
        failed = error
    try:
        for piece in ordered:
            tensor = whole(piece)
            moved()
            if file is None or failed is not None:
                continue
            assert tensor is not None, "the main process has every tensor"
            try:
                file.write(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
            except OSError as error:
                failed = error
    finally:
        if file is not None:
            file.close()
    if failed is not None:
        raise failed


def _header(pieces: Sequence[Piece]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for piece in pieces:
        end = at + piece.num_bytes
        entries[piece.name] = {
            "dtype": _CODES[piece.part.dtype], "shape": list(piece.shape), "data_offsets": [at, end]
        }  # fmt: skip
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGN)
    return len(text).to_bytes(8, "little") + text
