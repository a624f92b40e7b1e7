"""The launcher's argv and environment: what other machines and GPUs will be started with, checked without them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tuitrain.runs.torchrun import torchrun_command, trainer_environment


@pytest.mark.parametrize("nproc", [1, 2, 8])
def test_the_command(nproc: int) -> None:
    command = torchrun_command(Path("/runs/x"), nproc=nproc)
    assert command[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert f"--nproc-per-node={nproc}" in command
    assert "--rdzv-endpoint=127.0.0.1:0" in command
    assert "--local-addr=127.0.0.1" in command
    assert command[-3:] == ["-m", "tuitrain.trainer", "/runs/x"]


def test_the_environment_adds_what_trainers_need_and_keeps_the_rest() -> None:
    env = trainer_environment({"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1"}, attempt=3)
    assert env["PATH"] == "/bin"
    assert env["CUDA_VISIBLE_DEVICES"] == "1"
    assert env["PYTHONSAFEPATH"] == "1"
    assert env["TUITRAIN_ATTEMPT"] == "3"
    assert "OMP_NUM_THREADS" in env, "torchrun prints a banner without it"


@pytest.mark.parametrize(
    "name", ["GLOO_SOCKET_IFNAME", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "TORCHINDUCTOR_CACHE_DIR", "PYTORCH_CUDA_ALLOC_CONF"]
)
def test_what_the_user_chose_is_not_overruled(name: str) -> None:
    assert trainer_environment({name: "chosen"}, attempt=1)[name] == "chosen"
