"""`tuitrain plan ... --simulate` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def plan(*arguments: str, home: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TUITRAIN_HOME": str(home), "NO_COLOR": "1", **changes}
    command = [sys.executable, "-m", "tuitrain", "plan", *arguments, "--simulate"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)


def test_a_plan_and_its_simulation_side_by_side(tmp_path: Path) -> None:
    done = plan("smollm2-135m", "--gpu", "rtx-4090", "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    found = document["simulation"]
    assert found["peak_phase"] == document["memory"]["phase"] == "loss"
    assert found["difference"] == pytest.approx(0, abs=0.03)
    loss = next(each for each in found["phases"] if each["name"] == "loss")
    assert loss["terms"]["optimizer"] == pytest.approx(8 * document["model"]["parameters"], rel=1e-3)
    assert loss["planned_terms"]["optimizer"] == 8 * document["model"]["parameters"]


def test_a_table_for_people(tmp_path: Path) -> None:
    done = plan("smollm2-135m", "--gpu", "rtx-4090", "--gpus", "4", "--zero", "3", "--seq", "512", home=tmp_path)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("phase  ") :].splitlines()
    assert table[0].split() == ["phase", "planned", "traced", "difference"]
    assert [line.split()[0] for line in table[1:9]] == [
        "forward", "loss", "backward_start", "backward_middle", "backward_end", "backward_embedding", "optimizer", "peak",
    ]  # fmt: skip
    assert "fake CPU tensors" in table[-1]


def test_all_stages_beside_their_plans(tmp_path: Path) -> None:
    done = plan("smollm2-135m", "--gpu", "rtx-4090", "--gpus", "2", "--zero", "all", "--seq", "256", "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["simulation"]["stages"]
    assert [each["zero"] for each in stages] == [0, 1, 2, 3]
    peaks = [each["peak_bytes"] for each in stages]
    assert peaks == sorted(peaks, reverse=True)
    for each in stages:
        assert each["difference"] == pytest.approx(0, abs=0.03)
        for kind in each["communication"]:
            assert kind["planned_sent_bytes"] == pytest.approx(kind["sent_bytes"], rel=0.02, abs=4096), kind


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpt2"], "gpt2 with tuitrain"),
        (["smollm2-135m", "--gpus", "2", "--zero", "2", "--framework", "fsdp2-hf"], "ZeRO-2 with fsdp2-hf"),
        (["smollm2-135m", "--gpus", "2", "--zero", "all", "--framework", "fsdp2-hf"], "ZeRO-0 with fsdp2-hf"),
        (["smollm2-135m", "--gpus", "2", "--tp", "2"], "tp 2"),
        (["smollm2-135m", "--framework", "hf-trainer"], "--framework hf-trainer"),
        (["smollm2-135m", "--framework", "fsdp2-hf"], "fsdp2-hf on one device"),
        (
            ["smollm2-135m", "--gpus", "2", "--zero", "3", "--framework", "fsdp2-hf", "--optimizer", "muon"],
            "muon with fsdp2-hf",
        ),
        (["smollm2-135m", "--gpus", "2", "--zero", "3", "--framework", "fsdp2-hf", "--loss", "chunked"], "loss chunked"),
        (["smollm2-135m", "--markdown"], "--markdown"),
    ],
)
def test_what_cannot_be_simulated_is_named_and_so_is_what_can(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = plan(*arguments, "--gpu", "h100-80gb", home=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint:" in done.stderr
    assert done.stdout == ""
