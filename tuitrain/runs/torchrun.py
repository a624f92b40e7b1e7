"""The torchrun command and environment of a run. A pure function of the configuration, so it can be shown and tested."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tuitrain.runs.home import cache_dir


def torchrun_command(run_dir: Path, *, nproc: int) -> list[str]:
    """What starts the trainer on one machine.

    The rendezvous is bound to the loopback address: `--standalone` looks the host name up, and not every machine can.
    """
    return [
        sys.executable, "-m", "torch.distributed.run",
        "--nnodes=1", f"--nproc-per-node={nproc}", "--max-restarts=0",
        "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1",
        "-m", "tuitrain.trainer", str(run_dir),
    ]  # fmt: skip


def trainer_environment(base: Mapping[str, str], *, attempt: int) -> dict[str, str]:
    """The environment of torchrun and the trainers below it."""
    env = dict(base)
    # A folder named `kernels` or `planners` in the working directory must not shadow the PyPI packages of those names.
    env["PYTHONSAFEPATH"] = "1"
    env["PYTHONUNBUFFERED"] = "1"
    env["TUITRAIN_ATTEMPT"] = str(attempt)
    env["HF_HUB_OFFLINE"] = env.get("HF_HUB_OFFLINE", "1")
    env["TOKENIZERS_PARALLELISM"] = env.get("TOKENIZERS_PARALLELISM", "true")
    env["TORCHINDUCTOR_CACHE_DIR"] = env.get("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "inductor"))
    env.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    if base.get("GLOO_SOCKET_IFNAME") is None and Path("/sys/class/net/lo").exists():
        env["GLOO_SOCKET_IFNAME"] = "lo"
    # torchrun prints a banner unless somebody has chosen; the trainer sets its own thread count.
    env["OMP_NUM_THREADS"] = env.get(
        "OMP_NUM_THREADS", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    )
    return env
