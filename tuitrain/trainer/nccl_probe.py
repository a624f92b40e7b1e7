"""Do the processes of this machine add numbers up right? Run under torchrun, before a run trusts its gradients to the answer:

    torchrun ... -m tuitrain.trainer.nccl_probe FOLDER cuda|cpu SECONDS

Every rank leaves `rank-N.txt` in FOLDER: empty when all sums were right, else what went wrong. A rank that hangs in a kernel
runs no more Python, so a thread of its own ends it; a rank that crashes harder than with an exception leaves nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import torch
import torch.distributed as dist

SIZES = (1024, 1 << 20, 1 << 24)
"""Numbers per sum: 4 KiB, 4 MiB and 64 MiB take NCCL's protocols in turn (LL, LL128, Simple), over several channels."""
PERIOD = 1021
"""Summands repeat after so many: a prime, so that a chunk that arrives at the wrong place shows."""


def main(folder: Path, kind: str, timeout_s: float) -> int:
    """Add up, look, say. Returns the exit code."""
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    answer = folder / f"rank-{rank}.txt"

    def give_up() -> None:
        answer.write_text(f"rank {rank} hung for {timeout_s:g} s")
        os._exit(1)

    watchdog = threading.Timer(timeout_s, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        said = _sums(rank, size, local, kind)
    except Exception as error:  # the process boundary: whatever NCCL said becomes the answer
        said = f"rank {rank} failed: {' '.join(str(error).split())[:200]}"
    answer.write_text(said)
    watchdog.cancel()
    return 1 if said else 0


def _sums(rank: int, size: int, local: int, kind: str) -> str:
    """Join the others, add up, leave; what was wrong with the sums."""
    device = torch.device("cuda", local) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    # All sizes on all ranks, whatever was found: a rank that stopped early would leave the others waiting.
    said = "; ".join(filter(None, [wrong_sum(numbers, rank, size, device) for numbers in SIZES]))
    # Everybody has its sums before anybody leaves: who leaves first breaks the others' connections.
    dist.barrier()
    dist.destroy_process_group()
    return said


def wrong_sum(numbers: int, rank: int, size: int, device: torch.device) -> str:
    """One all-reduce of known values; empty when every sum is right. Whole numbers far below 2^24: fp32 adds them exactly."""
    base = torch.arange(numbers, device=device, dtype=torch.float32) % PERIOD
    found = base * (rank + 1)
    dist.all_reduce(found)
    wrong = found != base * (size * (size + 1) // 2)
    count = int(wrong.sum())
    return f"rank {rank}: {count} of {numbers} sums are wrong" if count else ""


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
    sys.stdout.flush()
    os._exit(code)  # gloo's threads abort an interpreter's own shutdown now and then, see `tuitrain.trainer.__main__`
