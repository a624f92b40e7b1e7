"""Peak memory and time of the loss head with a 49 152-entry vocabulary: chunked against plain, equal in loss and gradient.

Memory is the peak of live tensor bytes (storage by storage), which no other process disturbs; both sides in this run.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import torch

from benchmarks.common import save, table
from tuitrain_kernels import linear_cross_entropy, plain_linear_cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

ROWS, WIDTH, VOCAB = 4096, 576, 49_152


def run(head, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> None:
    """Forward and backward."""
    head(hidden, weight, targets).backward()


def main() -> None:
    """Measure fp32 and bf16, with a trainable head of SmolLM2-135M's size."""
    from support.live_bytes import peak_live_bytes

    results, rows = [], [["precision", "head", "peak MiB", "share", "seconds", "loss"]]
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        hidden = torch.randn(ROWS, WIDTH).to(dtype).requires_grad_()
        weight = (torch.randn(VOCAB, WIDTH) * 0.05).requires_grad_()
        targets = torch.randint(0, VOCAB, (ROWS,))
        facts = {}
        for name, head in (("plain", plain_linear_cross_entropy), ("chunked", linear_cross_entropy)):
            peak = peak_live_bytes(functools.partial(run, head, hidden, weight, targets))
            hidden.grad = weight.grad = None
            start = time.perf_counter()
            loss = head(hidden, weight, targets)
            loss.backward()
            facts[name] = {"peak_bytes": peak, "seconds": time.perf_counter() - start, "loss": loss.item() / ROWS}
            hidden.grad = weight.grad = None
        share = facts["chunked"]["peak_bytes"] / facts["plain"]["peak_bytes"]
        results.append({"precision": str(dtype).removeprefix("torch."), **facts, "share": share})
        for name, each in facts.items():
            rows.append([str(dtype).removeprefix("torch."), name, f"{each['peak_bytes'] / 2**20:.0f}", f"{share:.0%}" if
            name == "chunked" else "",
                         f"{each['seconds']:.2f}", f"{each['loss']:.5f}"])  # fmt: skip
    table(rows)
    save("loss_head", {"rows": ROWS, "width": WIDTH, "vocabulary": VOCAB, "results": results})


if __name__ == "__main__":
    main()
