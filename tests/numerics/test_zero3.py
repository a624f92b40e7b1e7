"""ZeRO-3 over two processes takes the steps one process takes: the same losses, gradient norms and weights."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.tiny import ALONE

SCRIPT = Path(__file__).with_name("zero_ranks.py")


@pytest.mark.parametrize(("head", "tied"), [("chunked", False), ("plain", True)])
def test_two_ranks_of_shards_train_as_one_process_does(head: str, tied: bool, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("zero_ranks", SCRIPT)
    zero_ranks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(zero_ranks)
    alone = zero_ranks.model(head, tied=tied)
    results = zero_ranks.three_steps(alone, ALONE)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d",
        "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1", str(SCRIPT), head, "tied" if tied else "apart",
        str(tmp_path),
    ]  # fmt: skip
    root = SCRIPT.parents[2]
    paths = [root, root / "planners", root / "kernels", root / "tests"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = torch.cat([parameter.detach().flatten() for parameter in alone.decoder.parameters()])
    for rank in range(2):
        found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert torch.allclose(found["weights"], expected, rtol=0, atol=2e-5)
        assert found["loss"] == pytest.approx([each.loss for each in results], rel=1e-6)
        assert found["grad_norm"] == pytest.approx([each.grad_norm for each in results], rel=1e-5)
        assert found["tokens"] == [each.tokens for each in results]
