"""What an exception means when several processes train together: a fault of its own, want of memory, or another's death."""

from __future__ import annotations

from typing import Literal

Kind = Literal["error", "out_of_memory", "lost_peer"]

_NO_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc", "cannot allocate memory")
"""The CPU allocator's refusal, CUDA's and C++'s have no common type."""
_LOST = (
    "connection closed by peer", "connection reset by peer", "broken pipe", "connection refused",
    "timed out waiting", "wait timeout", "application timeout caused pair closure",
    "remote process exited", "nccl communicator was aborted", "socket closed", "connectfullmesh failed",
    "failed to recv, got 0 bytes", "connection was likely closed",
)  # fmt: skip
"""What gloo, NCCL and the store say of a partner that went away. None of them has a type for it."""
_OF_THE_NETWORK = ("gloo", "nccl", "tcpstore", "processgroup", "c10d", "socket")


def kind_of(error: BaseException) -> Kind:
    """Which of the three. Only what comes from between the processes is laid at another's door."""
    import torch
    import torch.distributed as dist

    text = str(error).lower()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "out_of_memory"
    if isinstance(error, RuntimeError) and any(each in text for each in _NO_MEMORY):
        return "out_of_memory"
    if isinstance(error, (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)):
        return "lost_peer"
    if isinstance(error, RuntimeError) and any(each in text for each in _LOST):
        return "lost_peer" if any(each in text for each in _OF_THE_NETWORK) else "error"
    return "error"


def first_line(error: BaseException) -> str:
    """'ValueError: what was wrong', in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
