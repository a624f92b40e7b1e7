"""Global batches as micro-batches of tensors on this process's device. The data's order is a function of one integer.

The loader knows sequence numbers only; which process reads which rows of a global batch is decided here, so the content of a
global batch does not depend on the number of processes. The next batch is prepared in a thread while the device computes.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tuitrain.data import Batch
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.sequences import Sequences


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """What one forward pass reads."""

    tokens: Tensor
    targets: Tensor
    valid: int
    """What the loss is divided by: targets that count, or pairs."""
    read: int = 0
    """Tokens the model reads, padding not counted."""
    document_ids: Tensor | None = None
    position_ids: Tensor | None = None
    reference: Tensor | None = None
    liked: Tensor | None = None

    def inputs(self) -> tuple[Tensor | None, ...]:
        """What the loss module is called with."""
        inputs = (self.tokens, self.targets, self.document_ids, self.position_ids)
        return inputs if self.liked is None else (*inputs, self.reference, self.liked)


class GlobalBatches:
    """This process's micro-batches of any global batch, by the number of its first sequence."""

    def __init__(self, loader: Sequences, world: World, *, sequences: int, micro_batch: int) -> None:
        assert sequences % (world.size * micro_batch) == 0, f"{sequences} sequences != {world.size} x k x {micro_batch}"
        self._loader, self._world = loader, world
        self.sequences, self.micro_batch = sequences, micro_batch
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._next: tuple[int, Future[list[MicroBatch]]] | None = None

    def get(self, first_sequence: int) -> list[MicroBatch]:
        """The batch that starts at `first_sequence`; the one after it begins to load."""
        ready = self._next
        batches = ready[1].result() if ready and ready[0] == first_sequence else self._load(first_sequence)
        following = first_sequence + self.sequences
        self._next = (following, self._pool.submit(self._load, following))
        return batches

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, first_sequence: int) -> list[MicroBatch]:
        rows = self.sequences // self._world.size
        batch = self._loader.batch(first_sequence + self._world.rank * rows, rows)
        each = self._loader.rows_per_sequence
        return [
            to_micro_batch(batch, start * each, self.micro_batch * each, self._world.device, rows_per_sequence=each)
            for start in range(0, rows, self.micro_batch)
        ]


def to_micro_batch(batch: Batch, start: int, count: int, device: torch.device, *, rows_per_sequence: int = 1) -> MicroBatch:
    """Rows start..start+count of a loader's batch on the device, no wider than the longest of them needs."""
    rows = slice(start, start + count)
    lengths = None if batch.lengths is None else batch.lengths[rows]
    width = batch.tokens.shape[1]
    if lengths is not None and batch.document_ids is None:
        width = min(width, max(8, -(-int(lengths.max(initial=1)) // 8) * 8))

    def tensor(array: np.ndarray | None) -> Tensor | None:
        if array is None:
            return None
        piece = array[rows] if array.ndim == 1 else array[rows, :width]
        return torch.from_numpy(np.ascontiguousarray(piece)).to(device, non_blocking=True)

    tokens, targets = tensor(batch.tokens), tensor(batch.targets)
    assert tokens is not None
    assert targets is not None
    valid = int((batch.targets[rows] >= 0).sum())
    return MicroBatch(
        tokens=tokens,
        targets=targets,
        valid=valid if rows_per_sequence == 1 else tokens.shape[0] // rows_per_sequence,
        read=valid if lengths is None else int(lengths.sum()),
        document_ids=tensor(batch.document_ids),
        position_ids=tensor(batch.position_ids),
        reference=tensor(batch.reference),
        liked=tensor(batch.liked),
    )
