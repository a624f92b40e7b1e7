"""The torchrun command and environment of a run. A pure function of the configuration, so it can be shown and tested."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tuitrain.runs.home import cache_dir

ATTEMPT_VARIABLE = "TUITRAIN_ATTEMPT"
"""Set by the supervisor: which attempt this is. Where it is missing, torchrun was started by the user."""


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
    env[ATTEMPT_VARIABLE] = str(attempt)
    # torchrun prints a banner unless somebody has chosen; the trainer sets its own thread count.
    env.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1))
    # A restarted worker must not read the addresses of dead ones: no store is carried from one rendezvous into the next.
    env.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    return env | trainer_defaults(env, one_machine=True)


def trainer_defaults(env: Mapping[str, str], *, one_machine: bool) -> dict[str, str]:
    """What a trainer needs and nobody has chosen in `env`. It sets them itself where torchrun was started by the user."""
    defaults = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "TORCHINDUCTOR_CACHE_DIR": str(cache_dir() / "inductor"),
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    }
    if one_machine and Path("/sys/class/net/lo").exists():
        defaults["GLOO_SOCKET_IFNAME"] = "lo"
    return {name: value for name, value in defaults.items() if name not in env}
