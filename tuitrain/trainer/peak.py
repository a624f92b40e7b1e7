"""The matrix-multiply peak of a device, measured: the denominator of every MFU this trainer prints."""

from __future__ import annotations

import time

import torch


def matmul_peak(device: torch.device, dtype: torch.dtype, *, seconds: float = 1.0) -> float:
    """FLOP/s of the best of several square products (2 n^3 FLOP each) within about `seconds`. A limit reached, not a datasheet."""
    size = 8192 if device.type == "cuda" else 2048
    left = torch.randn(size, size, device=device).to(dtype)
    right = torch.randn(size, size, device=device).to(dtype)
    best_s, begin = float("inf"), time.perf_counter()
    left @ right
    _wait(device)
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        left @ right
        _wait(device)
        best_s = min(best_s, time.perf_counter() - start)
    return 2 * size**3 / best_s


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
