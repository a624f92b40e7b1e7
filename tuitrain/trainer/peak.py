"""The matrix-multiply peak of a device, measured: the denominator of every MFU this trainer prints."""

from __future__ import annotations

import time

import torch

LARGEST = {"cpu": 2048, "cuda": 8192}


def matmul_peak(device: torch.device, dtype: torch.dtype, *, seconds: float = 0.5) -> float:
    """FLOP/s of the best of several square products (2 n^3 FLOP each) within about `seconds`. A limit reached, not a datasheet.

    The size doubles while a product is quick: formats a device lacks are emulated, and can be a thousand times slower.
    """
    size, best, begin = 256, 0.0, time.perf_counter()
    while True:
        elapsed_s = _product_s(size, device, dtype)
        best = max(best, 2 * size**3 / elapsed_s)
        if time.perf_counter() - begin >= seconds:
            return best
        if size < LARGEST[device.type] and elapsed_s < seconds / 20:
            size *= 2


def _product_s(size: int, device: torch.device, dtype: torch.dtype) -> float:
    """Seconds of one product, its operands warm."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    result = left @ right
    _wait(device)
    start = time.perf_counter()
    torch.mm(left, right, out=result)
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
