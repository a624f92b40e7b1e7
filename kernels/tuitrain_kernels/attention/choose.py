"""Pick the attention backend for a device: fastest first, each compared with the reference in values and gradients before
use."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from tuitrain_kernels.attention.blocked import MAX_TOKENS
from tuitrain_kernels.attention.call import BACKENDS, Attention
from tuitrain_kernels.attention.flash import flash_unavailable
from tuitrain_kernels.attention.naive import naive_attention
from tuitrain_kernels.dispatch import Candidate, Choice, first_that_passes

# Largest elementwise error of outputs and gradients of order 1: a few units in the last place of each format.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 6e-2, torch.float16: 1e-2}


@functools.cache
def choose_attention(
    wanted: str,
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    *,
    num_heads: int,
    num_kv_heads: int,
    documents: bool,
    tokens: int = 0,
    compiled: bool = False,
) -> Choice:
    """The backend for these shapes. `wanted` is a backend's name or "auto"; a name that fails its test is an error, not a
    fallback.

    `tokens` is the sequence length and `compiled` whether the call will be compiled: both decide whether "blocked" pays.
    """
    names = ["flash-attn", "blocked", "sdpa", "naive"] if wanted == "auto" else [wanted]

    def unavailable(name: str) -> str | None:
        if name == "flash-attn":
            return flash_unavailable(device, dtype)
        return _blocked_does_not_pay(device, tokens, compiled) if name == "blocked" and wanted == "auto" else None

    def error(name: str) -> float:
        return _error(BACKENDS[name], device, dtype, head_dim, num_heads, num_kv_heads, documents)

    praise = {
        "flash-attn": "fastest on this device",
        "blocked": "fastest on CPU at this length when compiled",
        "sdpa": "torch's fused kernel",
        "naive": "the reference: slow, holds all scores",
    }
    return first_that_passes(
        [
            Candidate(
                name=name,
                unavailable=functools.partial(unavailable, name),
                error=functools.partial(error, name),
                tolerance=_TOLERANCE[dtype],
                praise=praise[name],
            )
            for name in names
        ]
    )


def _blocked_does_not_pay(device: torch.device, tokens: int, compiled: bool) -> str | None:
    if device.type != "cpu":
        return f"slower than a fused kernel on {device.type}"
    if not compiled:
        return "pays only when compiled"
    return f"holds scores: only up to {MAX_TOKENS} tokens" if tokens > MAX_TOKENS else None


def _error(
    backend: Attention,
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    num_heads: int,
    num_kv_heads: int,
    documents: bool,
) -> float:
    """Largest difference to the fp32 reference, outputs and the three gradients, on a small ragged case."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    batch, tokens = 2, 160  # more than one block of every tiled kernel, and no multiple of it

    def sample(heads: int) -> Tensor:
        return torch.randn(batch, tokens, heads, head_dim, generator=generator).to(device)

    inputs = [sample(num_heads), sample(num_kv_heads), sample(num_kv_heads)]
    grad_out = sample(num_heads)
    ids = (torch.arange(tokens, device=device) >= 57).long().expand(batch, tokens).contiguous() if documents else None

    def run(function: Attention, kind: torch.dtype) -> list[Tensor]:
        # Both sides start from the same rounded inputs, so what differs is the kernel alone.
        leaves = [each.to(dtype).to(kind).requires_grad_() for each in inputs]
        with torch.enable_grad():
            out = function(leaves[0], leaves[1], leaves[2], ids)
        return [out.detach(), *torch.autograd.grad(out, leaves, grad_out.to(dtype).to(kind))]

    pairs = zip(run(backend, dtype), run(naive_attention, torch.float32), strict=True)
    return max(float((got.float() - want).abs().max()) for got, want in pairs)
