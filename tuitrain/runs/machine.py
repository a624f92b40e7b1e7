"""The machine at hand, as far as it can be seen without torch: cores, memory, instruction sets, GPUs and their driver."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

_SMI_FIELDS = "name,memory.total,compute_cap,driver_version,power.limit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One NVIDIA device as `nvidia-smi` reports it."""

    name: str
    memory_bytes: int
    compute_capability: float
    driver: str
    power_limit_w: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a run has to work with."""

    cpu: str
    physical_cores: int
    usable_cores: int
    """Cores this process may run on (affinity, container quota)."""
    memory_bytes: int
    available_bytes: int
    cpu_flags: frozenset[str]
    gpus: tuple[Gpu, ...]
    gpu_reason: str
    """Why there are no GPUs, for people; empty when there are."""

    @property
    def cpu_bf16(self) -> bool:
        """Whether the CPU multiplies bfloat16 matrices natively (AVX-512 BF16 or AMX)."""
        return bool({"avx512_bf16", "amx_bf16"} & self.cpu_flags)

    def describe(self) -> str:
        """One line for people."""
        gib = self.memory_bytes / 2**30
        cores = f"{self.usable_cores} core{'s' if self.usable_cores != 1 else ''}"
        base = f"{cores} · {gib:.0f} GiB RAM"
        if not self.gpus:
            return f"CPU only · {base} · {self.gpu_reason}"
        names = " + ".join(f"{gpu.name} {gpu.memory_bytes / 2**30:.0f} GiB" for gpu in self.gpus)
        return f"{names} · {base}"

    def to_dict(self) -> dict[str, Any]:
        """For environment.json."""
        return asdict(self) | {"cpu_flags": sorted(self.cpu_flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8"})}


@functools.cache
def this_machine() -> Machine:
    """The machine at hand; looked at once per process."""
    gpus, reason = _gpus()
    memory = psutil.virtual_memory()
    limit = _cgroup_memory_limit()
    total = min(memory.total, limit) if limit else memory.total
    name, flags = _cpu()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cpu=name,
        physical_cores=min(psutil.cpu_count(logical=False) or usable, usable),
        usable_cores=usable,
        memory_bytes=total,
        available_bytes=min(memory.available, total),
        cpu_flags=flags,
        gpus=gpus,
        gpu_reason=reason,
    )


def _cpu() -> tuple[str, frozenset[str]]:
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = frozenset(value.split())
                break
    except OSError:
        pass  # not Linux: the name above will do, and no instruction set is assumed
    return name, flags


def _cgroup_memory_limit() -> int | None:
    """The container's memory limit, where there is one."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def _gpus() -> tuple[tuple[Gpu, ...], str]:
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return (), "no NVIDIA driver found (nvidia-smi is not on PATH)"
    try:
        result = subprocess.run(
            [smi, f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), f"nvidia-smi did not answer ({error})"
    if result.returncode:
        return (), f"nvidia-smi failed: {(result.stderr or result.stdout).strip().splitlines()[0][:120]}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = tuple(gpu for line in result.stdout.splitlines() if (gpu := _gpu(line)))
    if visible is not None:
        wanted = [part.strip() for part in visible.split(",")]
        gpus = tuple(gpus[int(part)] for part in wanted if part.isdigit() and int(part) < len(gpus))
        return gpus, "" if gpus else f"CUDA_VISIBLE_DEVICES={visible!r} hides every GPU"
    return gpus, "" if gpus else "nvidia-smi lists no GPU"


def _gpu(line: str) -> Gpu | None:
    parts = [part.strip() for part in line.split(",")]
    try:
        name, memory_mib, capability, driver, power = parts
        return Gpu(
            name=name,
            memory_bytes=int(float(memory_mib)) * 2**20,
            compute_capability=float(capability),
            driver=driver,
            power_limit_w=_number_or_zero(power),
        )
    except ValueError:
        return None


def _number_or_zero(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # "[N/A]" on cards that do not report it
        return 0.0
