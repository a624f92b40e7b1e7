"""nanoGPT's recipe (Karpathy 2022, https://github.com/karpathy/nanoGPT): GPT-2 block, AdamW (0.9, 0.99), cosine to a tenth,
warm-up of 100 steps, decay 0.1 on matrices, clipping at 1, random windows, no dropout, bf16 autocast, no compile (its
README's CPU line).

    python -m benchmarks.peers.nanogpt --minutes 5 --lr 1e-3        prints one JSON object
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.corpus import VOCAB, bits_per_byte, prepared, random_batch, shares, stream

LAYERS, HEADS, WIDTH, SEQ_LEN, ROWS = 4, 4, 256, 256, 16
WARMUP = 100


class Block(nn.Module):
    """GPT-2's: layer norm, attention, layer norm, GELU feed-forward; no biases, as nanoGPT trains."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """Tied embedding and head, learned positions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCAB, WIDTH), nn.Embedding(SEQ_LEN, WIDTH)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                std = 0.02 / math.sqrt(2 * LAYERS) if name.endswith(("out.weight", "down.weight")) else 0.02
                nn.init.normal_(parameter, std=std)

    def forward(self, tokens: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction=reduction)


def main() -> None:
    """Train for the minutes, judge, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--lr", type=float, required=True)
    options = parser.parse_args()
    torch.manual_seed(1337)
    data, model = prepared(), Gpt()
    tokens, generator = stream(data, "train"), np.random.default_rng(1337)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.99), fused=True)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(*random_batch(tokens, ROWS, SEQ_LEN, generator))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    begin, done = time.perf_counter(), 0
    for share in shares(options.minutes * 60):
        rate = min(1.0, (done + 1) / WARMUP) * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = options.lr * rate
        step()
        done += 1
    train_s = time.perf_counter() - begin

    def loss_sum(inputs: Tensor, targets: Tensor) -> float:
        return float(model(inputs, targets, "sum"))

    print(json.dumps({
        "bits_per_byte": bits_per_byte(loss_sum, data, SEQ_LEN), "lr": options.lr, "steps": done,
        "tokens": done * ROWS * SEQ_LEN, "train_s": train_s, "tokens_per_s": done * ROWS * SEQ_LEN / train_s,
        "parameters": sum(p.numel() for p in model.parameters()),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
