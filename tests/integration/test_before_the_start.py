"""What stands before a run of several processes: folders made for the user's own torchrun, sums tried for real, presets."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import TINY, write_corpus

from tuitrain.events import fold, read_events
from tuitrain.files import read_json
from tuitrain.runs.nccl import add_up
from tuitrain.runs.torchrun import trainer_environment

RECIPES = Path(__file__).parents[2] / "presets" / "recipes"


def tuitrain(home: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TUITRAIN_HOME": str(home), "NO_COLOR": "1", **changes}
    return subprocess.run([sys.executable, "-m", "tuitrain", *arguments], capture_output=True, text=True, timeout=300, env=env)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: a machine is measured once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    corpus = write_corpus(tmp_path / "corpus")
    file = tmp_path / "tiny.toml"
    file.write_text(TINY + f'\n[[data.sources]]\npath = "{corpus}"\n')
    return file


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("by", [pytest.param("the printed command", marks=pytest.mark.slow), "a plain torchrun"])
def test_a_prepared_run_trains_under_the_users_torchrun(config: Path, home: Path, tmp_path: Path, by: str) -> None:
    done = tuitrain(home, "train", str(config), "--nproc", "2", "train.steps=3", "--prepare")
    assert done.returncode == 0, done.stderr
    folder, command = done.stdout.splitlines()
    run = Path(folder)
    assert {each.name for each in run.iterdir()} == {"config.toml", "resolved.json", "plan.json", "environment.json"}
    assert read_json(run / "environment.json")["preflight"] == []
    if by == "a plain torchrun":
        # As `torchrun`, whose own rendezvous takes port 29500 unless it is told another.
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
        command = shlex.join([*torchrun, "-m", "tuitrain.trainer", folder])
    env = {**os.environ, "TUITRAIN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    trained = subprocess.run(command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert trained.returncode == 0, trained.stderr[-3000:]
    state = fold(read_events(run / "events"))
    assert (state.state, state.step) == ("finished", 3)
    assert state.start.data["world_size"] == 2


def test_a_dry_run_prints_what_a_shell_can_run(config: Path, home: Path) -> None:
    done = tuitrain(home, "train", str(config), "--nproc", "2", "train.steps=3", "--dry-run", OMP_NUM_THREADS="1")
    words = shlex.split(done.stdout.splitlines()[-1])
    assert words[0] == "env"
    assert "--nproc-per-node=2" in words
    assert words[-3:] == ["-m", "tuitrain.trainer", "RUN_DIR"]
    shown = json.loads(tuitrain(home, "train", str(config), "--nproc", "2", "--dry-run", "--json").stdout)
    assert shown["environment"]["PYTHONSAFEPATH"] == "1"
    assert "TUITRAIN_ATTEMPT" not in shown["environment"]


@pytest.mark.parametrize(
    ("arguments", "changes", "code", "said"),
    [
        (["--nproc", "3"], {}, 2, "do not divide among 3 processes"),
        (["--nproc", "many"], {}, 2, "run.nproc"),
        (["--prepare", "--dry-run"], {}, 2, "exclude each other"),
        (["--prepare", "--detach"], {}, 2, "exclude each other"),
        (["--nproc", "2"], {"GLOO_SOCKET_IFNAME": "nonsense0"}, 4, "unset GLOO_SOCKET_IFNAME"),
    ],
)
def test_what_cannot_start_makes_no_folder(
    arguments: list[str], changes: dict[str, str], code: int, said: str, config: Path, tmp_path: Path
) -> None:
    done = tuitrain(tmp_path / "home", "train", str(config), "train.steps=3", *arguments, **changes)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "\nhint: " in done.stderr
    assert not (tmp_path / "home" / "runs").exists()


def test_a_taken_port_is_told_before_the_user_starts(config: Path, tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        done = tuitrain(tmp_path / "home", "train", str(config), "train.steps=3", "--prepare", MASTER_PORT=port)
    assert done.returncode == 4
    assert f"port {port}, which MASTER_PORT names, is not free" in done.stderr


def test_two_processes_add_up_right() -> None:
    assert add_up({}, nproc=2, device="cpu") == ""


def test_two_processes_that_cannot_meet_say_why() -> None:
    said = add_up({"GLOO_SOCKET_IFNAME": "nonsense0"}, nproc=2, device="cpu")
    assert said.startswith("rank 0 failed: ")
    assert "nonsense0" in said


def test_a_process_that_hangs_is_ended_and_says_so(tmp_path: Path) -> None:
    env = trainer_environment(os.environ, attempt=1) | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "tuitrain.trainer.nccl_probe", str(tmp_path), "cpu", "2"]
    done = subprocess.run(command, env=env, timeout=120, capture_output=True)
    assert done.returncode == 1
    assert (tmp_path / "rank-0.txt").read_text() == "rank 0 hung for 2 s"


@pytest.mark.gpu
def test_the_gpus_of_this_machine_add_up_by_some_way() -> None:
    import torch

    from tuitrain.runs.nccl import choose

    count = torch.cuda.device_count()
    assert choose(lambda setting: add_up(setting, nproc=count, device="cuda")).reason


@pytest.mark.parametrize(
    ("recipe", "gpu", "nproc", "zero"),
    [
        ("sft/smollm2-1.7b-full-2x-4090", "rtx-4090", 2, 3),
        ("sft/llama-3-8b-full-8x-a100", "a100-80gb", 8, 3),
        ("pretrain/llama-3-8b-8x-h100", "h100-80gb", 8, 3),
    ],
)
def test_recipes_of_several_gpus_fit_and_print_their_command(
    recipe: str, gpu: str, nproc: int, zero: int, tmp_path: Path
) -> None:
    file = str(RECIPES / f"{recipe}.toml")
    done = tuitrain(tmp_path / "home", "train", file, "--dry-run", "--gpu", gpu, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["plan"]["memory"]["verdict"] == "fits"
    layout = shown["plan"]["layout"]
    assert (layout["dp"], layout["zero"]) == (shown["config"]["run"]["nproc"], zero) == (nproc, zero)
    assert f"--nproc-per-node={nproc}" in shown["command"]
    assert shown["command"][-3:] == ["-m", "tuitrain.trainer", "RUN_DIR"]
    assert shown["environment"]["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
