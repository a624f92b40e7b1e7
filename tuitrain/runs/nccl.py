"""Which way NCCL may take between the GPUs of this machine: found by adding numbers up, once per driver, and remembered.

Consumer cards (RTX 30xx, 40xx, 50xx without NVLink) are known to hang or to add up wrongly over PCIe peer-to-peer, depending on
driver, IOMMU and mainboard: https://github.com/NVIDIA/nccl-tests/issues/117, https://github.com/dmlc/xgboost/issues/11242 (a
hang with driver 560, mended in 570). Must not import torch: the sums are made by a child, `tuitrain.trainer.nccl_probe`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuitrain.config.schema import Config
from tuitrain.errors import EnvironmentError_
from tuitrain.files import read_json, write_json
from tuitrain.runs.home import cache_dir
from tuitrain.runs.launch_environment import child_environment
from tuitrain.runs.machine import Machine
from tuitrain.runs.torchrun import torchrun_command, trainer_environment

Try = Callable[[Mapping[str, str]], str]
"""Add up under these environment variables; empty when the sums were right, else what went wrong."""
WAYS: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("NCCL's own choice", {}),
    ("without peer-to-peer", {"NCCL_P2P_DISABLE": "1"}),
    ("without peer-to-peer and shared memory", {"NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1"}),
)
"""Fastest first: GPU to GPU, through the host's shared memory, through sockets."""
CHOSEN_BY_USER: Final = ("NCCL_P2P_DISABLE", "NCCL_P2P_LEVEL", "NCCL_SHM_DISABLE")
SUMS_TIMEOUT_S: Final = 60.0
"""Of one try: NCCL starts in 2 to 10 s with 8 GPUs, and the sums take milliseconds."""
START_TIMEOUT_S: Final = 120.0
"""On top, for torchrun and for importing torch from a cold disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """The environment variables NCCL gets, and why."""

    environment: dict[str, str]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """For environment.json."""
        return {"environment": self.environment, "reason": self.reason}


def choose(try_setting: Try) -> Way:
    """The first way that adds up right; EnvironmentError_ when none does."""
    failed: list[str] = []
    for name, setting in WAYS:
        said = try_setting(setting)
        if not said:
            why = f"{name} adds up right" + (f"; {'; '.join(failed)}" if failed else "")
            return Way(environment=setting, reason=why)
        failed.append(f"{name}: {said}")
    raise EnvironmentError_(
        f"NCCL does not add up right between these GPUs: {'; '.join(failed)}",
        "update the NVIDIA driver, turn the IOMMU and PCIe ACS off in the BIOS, give a container --shm-size=1g; "
        "NCCL_DEBUG=INFO says more. run.nproc=1 trains on one GPU meanwhile",
    )


def nccl_way(config: Config, machine: Machine, say: Callable[[str], None], *, try_setting: Try | None = None) -> Way | None:
    """The way of a resolved configuration's processes: the user's, the remembered one, or one found now. None where NCCL has
    nothing to do, or no GPU can be named to remember it by."""
    nproc = config.run.processes
    if config.run.device != "cuda" or nproc == 1 or not machine.gpus:
        return None
    if known := known_way(config, machine):
        return known
    say(f"adding up between {nproc} GPUs, once for this driver (about a minute at worst, per way NCCL can take)")
    found = choose(try_setting or (lambda setting: add_up(setting, nproc=nproc, device="cuda")))
    document = read_json(_file()) or {}
    _file().parent.mkdir(parents=True, exist_ok=True)
    write_json(_file(), document | {_key(machine, nproc): found.to_dict() | {"found_s": time.time()}})
    return found


def known_way(config: Config, machine: Machine) -> Way | None:
    """What needs no trial: the user's own setting, or what was found before."""
    nproc = config.run.processes
    return remembered(machine, nproc) if config.run.device == "cuda" and nproc > 1 and machine.gpus else None


def remembered(machine: Machine, nproc: int) -> Way | None:
    """The user's own setting, or what was found before for that many of the machine's GPUs."""
    if given := {name: os.environ[name] for name in CHOSEN_BY_USER if name in os.environ}:
        return Way(environment=given, reason="as the environment says; not tried")
    kept = (read_json(_file()) or {}).get(_key(machine, nproc))
    return Way(environment=dict(kept["environment"]), reason=str(kept["reason"])) if kept else None


def way_of(run_dir: Path) -> dict[str, str]:
    """The environment variables that were found for a run when it was made."""
    kept = (read_json(run_dir / "environment.json") or {}).get("nccl") or {}
    return {str(name): str(value) for name, value in kept.get("environment", {}).items()}


def add_up(setting: Mapping[str, str], *, nproc: int, device: str, timeout_s: float = SUMS_TIMEOUT_S) -> str:
    """Let `nproc` processes add up under torchrun, started as a trainer would be; empty when every sum was right."""
    with tempfile.TemporaryDirectory(prefix="tuitrain-nccl-") as name:
        folder = Path(name)
        trainer = torchrun_command(folder, nproc=nproc)
        command = ["tuitrain.trainer.nccl_probe" if part == "tuitrain.trainer" else part for part in trainer]
        assert command != trainer, "torchrun starts the trainer by the name of its module"
        env = trainer_environment({**child_environment(), **setting}, attempt=1)
        child = subprocess.Popen(
            [*command, device, f"{timeout_s:g}"], env=env, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            code = child.wait(timeout_s + START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"no answer within {timeout_s + START_TIMEOUT_S:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        return _verdict(folder, nproc, code)


def _verdict(folder: Path, nproc: int, code: int) -> str:
    """What the ranks left: the first complaint, or who left nothing."""
    answers = {rank: folder / f"rank-{rank}.txt" for rank in range(nproc)}
    if said := [text for file in answers.values() if file.exists() and (text := file.read_text())]:
        return said[0]
    if silent := [str(rank) for rank, file in answers.items() if not file.exists()]:
        return f"rank{'s' * (len(silent) > 1)} {', '.join(silent)} crashed, torchrun ended with code {code}"
    return ""


def _key(machine: Machine, nproc: int) -> str:
    """What the answer depends on: the driver, the cards, and the NCCL that comes with torch."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    names = " + ".join(gpu.name for gpu in machine.gpus)
    return f"driver {machine.gpus[0].driver}, torch {version}, {nproc} of {names}"


def _file() -> Path:
    return cache_dir() / "nccl.json"
