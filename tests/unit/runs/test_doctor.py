"""The doctor: each check on machines that lack something, and what it advises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.config.test_resolve import CPU_BOX

from tuitrain.runs import doctor
from tuitrain.runs.machine import Gpu, this_machine

GPU = Gpu(name="RTX", memory_bytes=24 << 30, compute_capability=8.9, driver="550.1", power_limit_w=450.0)
GPU_BOX = replace(CPU_BOX, gpus=(GPU,), gpu_reason="")
CPU_TORCH = {"version": "2.13.0+cpu", "cuda_build": None, "cuda": False, "devices": [], "bf16_cpu_ok": True}


@pytest.mark.parametrize(
    ("finding", "level", "said", "fix"),
    [
        (doctor._torch({"missing": True}), "warn", "planning works", "tuitrain[train]"),
        (doctor._torch({"broken": "libcudart.so missing"}), "fail", "libcudart", "reinstall"),
        (doctor._torch(CPU_TORCH), "pass", "CPU build", ""),
        (doctor._device(GPU_BOX, CPU_TORCH), "fail", "torch is a CPU build", "CUDA build"),
        (doctor._device(GPU_BOX, CPU_TORCH | {"cuda_build": "12.8"}), "fail", "sees no CUDA device", "driver"),
        (doctor._device(CPU_BOX, CPU_TORCH), "pass", "CPU only", ""),
        (doctor._driver(GPU_BOX, CPU_TORCH), "pass", "550.1", ""),
        (doctor._driver(CPU_BOX, CPU_TORCH | {"cuda_build": "12.8"}), "warn", "no NVIDIA driver", "install"),
        (doctor._bf16(CPU_BOX, CPU_TORCH), "pass", "natively", ""),
        (doctor._bf16(replace(CPU_BOX, cpu_flags=frozenset()), CPU_TORCH), "warn", "fp32", "nothing to do"),
        (doctor._bf16(CPU_BOX, CPU_TORCH | {"bf16_cpu_ok": False}), "fail", "is wrong", "fp32"),
        (doctor._memory(replace(CPU_BOX, available_bytes=1 << 30)), "warn", "1.0 GiB available", "close"),
    ],
)
def test_checks(finding: doctor.Finding, level: str, said: str, fix: str) -> None:
    assert finding.level == level
    assert said in finding.message
    assert fix in finding.fix


def test_without_a_compiler_it_says_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    finding = doctor._compiler()
    assert (finding.level, "torch.compile" in finding.message) == ("warn", True)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    assert doctor._disk().level == "warn"


def test_too_little_shared_memory_is_told_where_gpus_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "shared_memory_bytes", lambda: 64 << 20)
    assert doctor._shared_memory(GPU_BOX).level == "pass"
    found = doctor._shared_memory(replace(GPU_BOX, gpus=(GPU,) * 4))
    assert (found.level, "--shm-size=1g" in found.fix) == ("warn", True)


def test_the_way_of_nccl_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    two = replace(GPU_BOX, gpus=(GPU, GPU))
    assert "not needed" in doctor._nccl(GPU_BOX).message
    assert "not tried yet" in doctor._nccl(two).message
    monkeypatch.setenv("NCCL_P2P_DISABLE", "1")
    found = doctor._nccl(two)
    assert (found.level, found.message) == ("warn", "NCCL_P2P_DISABLE=1: as the environment says; not tried")


def test_this_machine_is_described_truthfully() -> None:
    machine = this_machine()
    assert machine.usable_cores >= machine.physical_cores >= 1
    assert 0 < machine.available_bytes <= machine.memory_bytes
    assert bool(machine.gpus) != bool(machine.gpu_reason)
