"""Measure what this machine does when it really trains: FLOP/s of whole steps at several widths, and the matrix-multiply peak.

    python -m tuitrain.trainer.measure [--device cpu|cuda] [--precision bf16-mixed]

Prints one JSON object. Whoever asks is a process without torch; the result goes into machine.json and feeds the planner.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import torch

from tuitrain.config.schema import OptimSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import init_weights
from tuitrain.model.shape import DecoderShape
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.peak import matmul_peak
from tuitrain.trainer.precision import recipe
from tuitrain_planners import by_depth, flop_per_token

DEPTHS = {"cpu": (1, 2, 4, 6), "cuda": (4, 8, 12, 16)}
LAYERS = 2
"""Layers of a measured model: the rate hardly depends on depth, and a few layers are quick."""
VOCAB_SIZE = 4096
SEQ_LEN = {"cpu": 256, "cuda": 1024}
TOKENS = {"cpu": 4096, "cuda": 32_768}
MIN_S_PER_WIDTH = 0.7


def measure(device: torch.device, precision: str) -> dict[str, Any]:
    """{"peak_flop_per_s", "rates": [[hidden size, FLOP/s], ...], "convention", ...}; takes a few seconds."""
    kind = recipe(precision, device)
    rates = [[64 * depth, _rate(64 * depth, device, precision)] for depth in DEPTHS[device.type]]
    return {
        "device": device.type,
        "precision": precision,
        "peak_flop_per_s": matmul_peak(device, kind.compute, seconds=0.7),
        "rates": rates,
        "convention": "causal",
        "threads": torch.get_num_threads(),
        "seq_len": SEQ_LEN[device.type],
        "measured_s": time.time(),
    }


def _rate(width: int, device: torch.device, precision: str) -> float:
    """FLOP/s of eager training steps of a two-layer model of this width: forward, backward, optimizer."""
    kind, seq_len = recipe(precision, device), SEQ_LEN[device.type]
    shape = DecoderShape(
        architecture="nanochat", vocab_size=VOCAB_SIZE, hidden_size=width, num_layers=LAYERS, num_heads=max(1, width // 64),
        num_kv_heads=max(1, width // 64), head_dim=64, ffn_size=4 * width, tie_embeddings=False, max_seq_len=seq_len,
        logit_softcap=None,
    )  # fmt: skip
    decoder = Decoder(shape, compute_dtype=kind.compute).to(device, kind.weights)
    init_weights(decoder, 0)
    loss = LanguageModelLoss(decoder, head="chunked")
    section = OptimSection(kind="muon", lr=1e-3, embedding_lr=0.01, matrix_lr=1e-3, weight_decay=0.1)
    optimizers = Optimizers(decoder, section, device=device)
    tokens = torch.randint(0, VOCAB_SIZE, (TOKENS[device.type] // seq_len, seq_len), device=device)

    def step() -> float:
        start = time.perf_counter()
        (loss(tokens, tokens) / tokens.numel()).backward()
        optimizers.step()
        optimizers.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    step()
    times, begin = [step()], time.perf_counter()
    while time.perf_counter() - begin < MIN_S_PER_WIDTH:
        times.append(step())
    median_s = sorted(times)[len(times) // 2]
    from dataclasses import replace

    planned = replace(by_depth(width // 64, VOCAB_SIZE, "nanochat"), num_layers=LAYERS)
    return flop_per_token(planned, seq_len, "causal").value * tokens.numel() / median_s


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(json.dumps(measure(torch.device(arguments.device), arguments.precision)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
