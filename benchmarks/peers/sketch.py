"""A short script with the tricks of the day: Muon, QK-norm, zero-initialised outputs, squared ReLU, bf16, linear decay to zero.

It tells how fast this machine is: what a good sketch reaches in the same minutes, without an engine around it.

    python -m benchmarks.peers.sketch --minutes 5
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.corpus import VOCAB, bits_per_byte, prepared, random_batch, shares, stream

LAYERS, HEADS, WIDTH, SEQ_LEN, ROWS = 4, 4, 256, 256, 16


def norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],))


def rotate(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2])[:, None] * 1e4 ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(norm(x)).chunk(3, -1))
        q, k = rotate(norm(q)), rotate(norm(k))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(norm(x))).square())


class Sketch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        x = norm(self.tokens(tokens))
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(norm(x)).float().flatten(0, 1), targets.flatten(), reduction=reduction)


def newton_schulz(grad: Tensor) -> Tensor:
    x = grad.bfloat16() / (grad.norm() + 1e-7)
    x = x.T if grad.shape[0] > grad.shape[1] else x
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if grad.shape[0] > grad.shape[1] else x).float()


def main() -> None:
    """Train for the minutes, judge, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, required=True)
    options = parser.parse_args()
    torch.manual_seed(1337)
    data, model = prepared(), Sketch()
    tokens, generator = stream(data, "train"), np.random.default_rng(1337)
    matrices = [parameter for parameter in model.blocks.parameters() if parameter.ndim == 2]
    momenta = [torch.zeros_like(matrix) for matrix in matrices]
    adam = torch.optim.AdamW([model.tokens.weight, model.head.weight], lr=3e-3, betas=(0.8, 0.95), weight_decay=0.0, fused=True)

    def step(rate: float) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(*random_batch(tokens, ROWS, SEQ_LEN, generator))
        loss.backward()
        with torch.no_grad():
            for matrix, momentum in zip(matrices, momenta, strict=True):
                momentum.lerp_(matrix.grad, 0.05)
                update = newton_schulz(matrix.grad.lerp(momentum, 0.95))
                matrix.sub_(update, alpha=0.02 * rate * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5)
        adam.param_groups[0]["lr"] = 3e-3 * rate
        adam.step()
        model.zero_grad(set_to_none=True)

    begin, done = time.perf_counter(), 0
    for share in shares(options.minutes * 60):
        step(1 - share)
        done += 1
    train_s = time.perf_counter() - begin

    def loss_sum(inputs: Tensor, targets: Tensor) -> float:
        return float(model(inputs, targets, "sum"))

    print(json.dumps({
        "bits_per_byte": bits_per_byte(loss_sum, data, SEQ_LEN), "steps": done, "tokens": done * ROWS * SEQ_LEN,
        "train_s": train_s, "tokens_per_s": done * ROWS * SEQ_LEN / train_s,
        "parameters": sum(p.numel() for p in model.parameters()),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
