"""Is this machine fit to train? Each check passes, warns or fails, and says how to mend it.

torch is asked in a child process: the answer costs seconds, and a broken CUDA installation may crash rather than raise.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuitrain.runs.compiler import compiler
from tuitrain.runs.home import home
from tuitrain.runs.machine import Machine, this_machine
from tuitrain.runs.nccl import remembered
from tuitrain.runs.preflight import shared_memory_bytes, shared_memory_need

Level = Literal["pass", "warn", "fail"]
MIN_FREE_BYTES = 2 << 30
MIN_MEMORY_BYTES = 4 << 30
_EXTRAS = {
    "train": ("torch", "transformers", "tokenizers", "tiktoken", "safetensors", "pyarrow", "peft"),
    "nvidia": ("pynvml",),
}

_ASK_TORCH = """
import json, torch
out = {"version": torch.__version__, "cuda_build": torch.version.cuda, "cuda": torch.cuda.is_available(), "devices": []}
if out["cuda"]:
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        out["devices"].append({"name": p.name, "bytes": p.total_memory, "capability": f"{p.major}.{p.minor}"})
    out["bf16"] = torch.cuda.is_bf16_supported(including_emulation=False)
x = torch.ones(64, 64, dtype=torch.bfloat16)
out["bf16_cpu_ok"] = float((x @ x)[0, 0]) == 64.0
print(json.dumps(out))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One check's result."""

    check: str
    level: Level
    message: str
    fix: str = ""


def examine() -> Iterator[Finding]:
    """All checks, as they finish."""
    machine = this_machine()
    torch_facts = _torch_facts()
    checks: list[Callable[[], Finding]] = [
        _python,
        lambda: _torch(torch_facts),
        lambda: _device(machine, torch_facts),
        lambda: _driver(machine, torch_facts),
        lambda: _bf16(machine, torch_facts),
        _compiler,
        lambda: _flash_attn(machine),
        _bitsandbytes,
        _disk,
        lambda: _memory(machine),
        lambda: _shared_memory(machine),
        lambda: _nccl(machine),
        *[lambda name=name: _extra(name) for name in _EXTRAS],
    ]
    for check in checks:
        yield check()


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < (3, 11) or sys.version_info >= (3, 14):
        return Finding(check="python", level="fail", message=f"Python {version}", fix="use Python 3.11, 3.12 or 3.13")
    return Finding(check="python", level="pass", message=f"Python {version} at {sys.executable}")


def _torch_facts() -> dict[str, Any]:
    """What torch says of itself; {"missing": ...} or {"broken": why}."""
    if importlib.util.find_spec("torch") is None:
        return {"missing": True}
    try:
        result = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return {"broken": "did not answer within two minutes"}
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"ended with code {result.returncode}"]
        return {"broken": lines[-1][:200]}
    facts: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return facts


def _torch(facts: dict[str, Any]) -> Finding:
    if facts.get("missing"):
        return Finding(
            check="torch",
            level="warn",
            message="not installed: planning works, training does not",
            fix="pip install 'tuitrain[train]'",
        )
    if "broken" in facts:
        return Finding(
            check="torch", level="fail", message=f"cannot be used: {facts['broken']}", fix="pip install --force-reinstall torch"
        )
    build = f"CUDA {facts['cuda_build']} build" if facts["cuda_build"] else "CPU build"
    return Finding(check="torch", level="pass", message=f"torch {facts['version']}, {build}")


def _device(machine: Machine, facts: dict[str, Any]) -> Finding:
    if facts.get("cuda"):
        names = ", ".join(f"{each['name']} {each['bytes'] / 2**30:.0f} GiB" for each in facts["devices"])
        return Finding(check="device", level="pass", message=names)
    if machine.gpus and not facts.get("missing") and "broken" not in facts:
        why = "torch is a CPU build" if not facts["cuda_build"] else "torch sees no CUDA device"
        fix = (
            "install the CUDA build of torch: https://pytorch.org/get-started"
            if not facts["cuda_build"]
            else "check the driver below"
        )
        return Finding(check="device", level="fail", message=f"{machine.gpus[0].name} is there, but {why}", fix=fix)
    return Finding(check="device", level="pass", message=machine.describe())


def _driver(machine: Machine, facts: dict[str, Any]) -> Finding:
    if machine.gpus:
        return Finding(check="driver", level="pass", message=f"NVIDIA driver {machine.gpus[0].driver}")
    if facts.get("cuda_build"):
        return Finding(
            check="driver", level="warn", message=machine.gpu_reason, fix="install the NVIDIA driver to train on a GPU"
        )
    return Finding(check="driver", level="pass", message=f"none needed: {machine.gpu_reason}")


def _bf16(machine: Machine, facts: dict[str, Any]) -> Finding:
    if facts.get("cuda"):
        if facts.get("bf16"):
            return Finding(check="bf16", level="pass", message="the GPU computes in bf16")
        return Finding(
            check="bf16",
            level="warn",
            message="the GPU has no bf16: fp16 with loss scaling is used",
            fix="nothing to do; Ampere or newer has it",
        )
    if "bf16_cpu_ok" in facts and not facts["bf16_cpu_ok"]:
        return Finding(
            check="bf16",
            level="fail",
            message="a bf16 product on this CPU is wrong",
            fix="train.precision=fp32, and report this CPU",
        )
    if machine.cpu_bf16:
        return Finding(check="bf16", level="pass", message="the CPU computes in bf16 natively (AVX-512 BF16 or AMX)")
    return Finding(
        check="bf16",
        level="warn",
        message="the CPU has no bf16 instructions: training runs in fp32",
        fix="nothing to do on this machine",
    )


def _compiler() -> Finding:
    if path := compiler():
        return Finding(check="compiler", level="pass", message=f"{path}: torch.compile works")
    return Finding(
        check="compiler",
        level="warn",
        message="no C++ compiler: torch.compile is off, training about a third slower",
        fix="apt install g++, or brew install gcc",
    )


def _flash_attn(machine: Machine) -> Finding:
    if importlib.util.find_spec("flash_attn") is not None:
        return Finding(check="flash-attn", level="pass", message=f"flash-attn {_version('flash-attn')}")
    if not machine.gpus:
        return Finding(
            check="flash-attn",
            level="pass",
            message="not installed, and of no use without an NVIDIA GPU; torch's own flash kernel is used",
        )
    return Finding(
        check="flash-attn",
        level="warn",
        message="not installed: torch's own flash kernel is used",
        fix="pip install 'tuitrain[flash]' --no-build-isolation",
    )


def _bitsandbytes() -> Finding:
    if importlib.util.find_spec("bitsandbytes") is None:
        return Finding(
            check="bitsandbytes",
            level="warn",
            message="not installed: no 4-bit weights, no 8-bit optimizers",
            fix="pip install 'tuitrain[train]'",
        )
    return Finding(check="bitsandbytes", level="pass", message=f"bitsandbytes {_version('bitsandbytes')}")


def _disk() -> Finding:
    folder = home()
    existing: Path = next(each for each in [folder, *folder.parents] if each.exists())
    free = shutil.disk_usage(existing).free
    message = f"{free / 2**30:.1f} GiB free for {folder}"
    if free < MIN_FREE_BYTES:
        return Finding(
            check="disk", level="warn", message=message, fix="free some space, or set TUITRAIN_HOME to a larger disk"
        )
    return Finding(check="disk", level="pass", message=message)


def _memory(machine: Machine) -> Finding:
    message = f"{machine.memory_bytes / 2**30:.1f} GiB RAM, {machine.available_bytes / 2**30:.1f} GiB available"
    if machine.available_bytes < MIN_MEMORY_BYTES:
        return Finding(check="memory", level="warn", message=message, fix="close other programs before training")
    return Finding(check="memory", level="pass", message=message)


def _shared_memory(machine: Machine) -> Finding:
    check, free, need = "shared memory", shared_memory_bytes(), shared_memory_need(len(machine.gpus))
    if free is None:
        return Finding(check=check, level="pass", message="no /dev/shm on this system, and only NCCL uses it")
    message = f"{free / 2**30:.2f} GiB free in /dev/shm"
    if len(machine.gpus) > 1 and free < need:
        message += f"; NCCL may need {need / 2**30:.2f} GiB for {len(machine.gpus)} GPUs"
        return Finding(check=check, level="warn", message=message, fix="docker run --shm-size=1g; remove stale /dev/shm/nccl-*")
    return Finding(check=check, level="pass", message=message)


def _nccl(machine: Machine) -> Finding:
    count = len(machine.gpus)
    if count < 2:
        return Finding(check="nccl", level="pass", message=f"not needed: {count or 'no'} GPU")
    way = remembered(machine, count)
    if way is None:
        return Finding(check="nccl", level="pass", message=f"not tried yet: the first run on {count} GPUs will")
    setting = " ".join(f"{name}={value}" for name, value in way.environment.items())
    message = f"{setting}: {way.reason}" if setting else way.reason
    if not setting:
        return Finding(check="nccl", level="pass", message=message)
    fix = "a newer NVIDIA driver, or IOMMU and PCIe ACS off in the BIOS, may bring the faster way back"
    return Finding(check="nccl", level="warn", message=message, fix=fix)


def _extra(name: str) -> Finding:
    missing = [package for package in _EXTRAS[name] if importlib.util.find_spec(package) is None]
    if not missing:
        return Finding(check=f"extra {name}", level="pass", message="complete")
    optional = name != "train"
    message = f"lacks {', '.join(missing)}" + (" (optional)" if optional else "")
    return Finding(
        check=f"extra {name}", level="pass" if optional else "warn", message=message, fix=f"pip install 'tuitrain[{name}]'"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
