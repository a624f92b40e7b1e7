"""What an exception means: the words of torch, gloo and NCCL as they were seen."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from tuitrain.trainer.failing import first_line, kind_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] can't allocate memory: you tried"), "out_of_memory"),
        (RuntimeError("std::bad_alloc"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory"),
        (RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:56485."), "lost_peer"),
        (RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:82] Timed out waiting 300000ms for recv operation"), "lost_peer"),
        (dist.DistBackendError("NCCL communicator was aborted on rank 0."), "lost_peer"),
        (dist.DistNetworkError("failed to recv, got 0 bytes"), "lost_peer"),
        (RuntimeError("Connection reset by peer while reading https://example.org"), "error"),
        (ConnectionResetError("Connection reset by peer"), "error"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "error"),
        (ValueError("out of memory is what this text is about"), "error"),
    ],
)  # fmt: skip
def test_whose_fault_it_was(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind


def test_the_first_line_is_enough() -> None:
    assert first_line(ValueError("what\nmore")) == "ValueError: what"
    assert first_line(MemoryError()) == "MemoryError"
