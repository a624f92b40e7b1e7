"""The command line as a stranger meets it: exit codes, where output goes, bad input, and real runs through real commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.runs import TINY, write_corpus


def tuitrain(*arguments: str, home: Path, timeout: float = 300.0, **changes) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TUITRAIN_HOME": str(home), "NO_COLOR": "1", **changes.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "tuitrain", *arguments], capture_output=True, text=True, timeout=timeout, env=env, **changes
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    corpus = write_corpus(tmp_path / "corpus")
    file = tmp_path / "tiny.toml"
    file.write_text(TINY + f'\n[[data.sources]]\npath = "{corpus}"\n')
    return file


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, "tuitrain 0."),
        (["--help"], 0, "Plan, launch, watch and resume"),
        (["nonsense"], 2, "No such command"),
        (["plan", "lama-3-8b", "--gpu", "h100-80gb"], 2, "did you mean 'llama-3-8b'"),
        (["plan", "gpt2", "--gpu", "h100"], 2, "h100-80gb"),
        (["plan", "llama-3-8b", "--gpu", "rtx-4090"], 3, "oom"),
        (["plan", "gpt2", "--gpu", "rtx-4090", "--tokens", "12 furlongs"], 2, "error:"),
        (["plan", "gpt2", "--gpu", "rtx-4090", "--explain", "memory.peak"], 2, "memory.peak_bytes"),
        (["plan"], 2, "--params"),
        (["plan", "some.toml", "--gpus", "8", "--kwh-price", "1"], 2, "--gpus, --kwh-price and a CONFIG.toml"),
        (["plan", "--hours", "9", "--gpu", "l4", "--gpus", "8", "--zero", "all"], 2, "--zero 3"),
        (["plan", "gpt2", "model.depth=3", "--gpu", "rtx-4090"], 2, "without a CONFIG.toml"),
        (["plan", "--gpu", "rtx-4090", "--hours", "12"], 0, "wins"),
        (["plan", "gpt2", "--gpu", "rtx-4090", "--hours", "1"], 0, "training steps only"),
        (["plan", "gpt2", "--gpu", "rtx-4090", "--hours", "1", "--tokens", "1B"], 2, "give one of them"),
        (["plan", "--gpu", "rtx-4090", "--hours", "-1"], 2, "time"),
        (["plan", "--params", "7B", "--gpu", "h100-80gb", "--zero", "7"], 2, "--zero 7"),
        (["plan", "--params", "7B", "--gpu", "h100-80gb", "--gpus", "8", "--zero", "all"], 0, "ZeRO"),
        (["plan", "gpt2", "--gpu", "rtx-4090", "--country", "germny"], 2, "germany"),
        (["plan", "gpt2", "--gpu", "rtx-4090", "--price", "-3"], 2, "price"),
        (["plan", "gpt2", "--gpu", "rtx-4090", "--framework", "fsdp"], 2, "fsdp2-hf"),
        (["train", "missing.toml"], 2, "does not exist"),
        (["train", "train.stepz=3"], 2, "did you mean 'steps'"),
        (["train", "--dry-run", "train.steps=3", "train.tokens=5"], 2, "given 2 times"),
        (["runs", "show", "nothing"], 2, "tuitrain demo"),
        (["runs", "ls"], 0, "tuitrain demo"),
        (["runs"], 0, "tuitrain demo"),
        (["data"], 2, "tuitrain data --help"),
        (["chat", "nothing"], 2, "no run 'nothing'"),
        (["tokenizer", "train", "out", "--vocab-size", "3"], 2, "vocab"),
    ],
)
def test_exit_codes_and_words(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = tuitrain(*arguments, home=tmp_path / "home", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if code not in (0, 3):
        assert done.stderr.startswith("error: ")
        assert "\nhint: " in done.stderr
        assert done.stdout == ""


def test_stdout_is_json_where_json_was_asked_for(tmp_path: Path) -> None:
    plan = json.loads(tuitrain("plan", "gpt2", "--gpu", "rtx-4090", "--json", home=tmp_path).stdout)
    assert plan["model"]["parameters"] == 124_439_808
    assert json.loads(tuitrain("runs", "ls", "--json", home=tmp_path).stdout) == []
    schema = json.loads(tuitrain("schema", home=tmp_path).stdout)
    assert "seq_len" in schema["$defs"]["TrainSection"]["properties"]


def test_a_run_through_commands(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shown = tuitrain("train", str(config), "train.steps=8", "--dry-run", home=home)
    assert shown.returncode == 0, shown.stderr
    assert "torch.distributed.run" in shown.stdout
    assert "train.precision" in shown.stdout
    done = tuitrain("train", str(config), "train.steps=8", home=home)
    assert done.returncode == 0, done.stderr
    assert re.search(r"step 8.*validation loss", done.stdout)
    assert "plan" in done.stdout.lower()
    (row,) = json.loads(tuitrain("runs", "ls", "--json", home=home).stdout)
    assert (row["state"], row["step"], row["total_steps"], row["alive"]) == ("finished", 8, 8, False)
    details = tuitrain("runs", "show", "latest", home=home)
    assert row["run_id"] in details.stdout
    lines = tuitrain("runs", "watch", "latest", "--json", home=home).stdout.splitlines()
    assert {json.loads(line)["kind"] for line in lines} >= {
        "run_start",
        "plan",
        "step",
        "eval",
        "sample",
        "checkpoint",
        "run_end",
    }
    again = tuitrain("runs", "resume", "latest", home=home)
    assert again.returncode == 2
    assert "is finished" in again.stderr
    answer = tuitrain("chat", "latest", "-p", "the 7 of", "--max-tokens", "5", "--temperature", "0", home=home)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("the 7 of")
    assert tuitrain("runs", "rm", "latest", "--yes", home=home).returncode == 0
    assert json.loads(tuitrain("runs", "ls", "--json", home=home).stdout) == []


def as_in_a_terminal() -> None:
    """A test session in the background of a script has SIGINT ignored, and its children would too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_the_run_training(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {**os.environ, "TUITRAIN_HOME": str(home)}
    command = [
        sys.executable,
        "-m",
        "tuitrain",
        "train",
        str(config),
        "train.steps=100000",
        "eval.every_steps=0",
        "checkpoint.every_steps=0",
    ]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        preexec_fn=as_in_a_terminal,  # noqa: PLW1509 - this process has no other thread that could hold a lock
    )
    assert child.stdout is not None
    while "step" not in child.stdout.readline():
        assert child.poll() is None, child.stderr.read()
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "keeps training" in stderr
    (row,) = json.loads(tuitrain("runs", "ls", "--json", home=home).stdout)
    assert row["alive"]
    for command_, expected in (("save", "saved"), ("pause", "paused"), ("resume", "going on"), ("stop", "stopping")):
        done = tuitrain("runs", command_, "latest", home=home)
        assert done.returncode == 0, done.stderr
        assert expected in done.stderr
    deadline = time.monotonic() + 60
    while json.loads(tuitrain("runs", "ls", "--json", home=home).stdout)[0]["alive"]:
        assert time.monotonic() < deadline
    refused = tuitrain("runs", "save", "latest", home=home)
    assert refused.returncode == 2
    assert "is not running" in refused.stderr


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m tuitrain schema | head -1",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TUITRAIN_HOME": str(tmp_path)},
    )
    assert "Traceback" not in done.stderr


def test_data_and_tokenizer_commands(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = tuitrain("data", "prepare", str(config), "--json", home=home)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["train"]["documents"] + facts["validation"]["documents"] == 30
    done = tuitrain("tokenizer", "train", str(tmp_path / "tok"), "--config", str(config), "--vocab-size", "300", home=home)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tok" / "tokenizer.json").is_file()


def test_without_torch_planning_works_and_training_names_the_extra(config: Path, tmp_path: Path) -> None:
    """A site-packages without torch: its import and its metadata are hidden."""
    hook = tmp_path / "hide" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(
        "import sys, importlib.util\n"
        "real = importlib.util.find_spec\n"
        "hidden = ('torch', 'transformers', 'tokenizers', 'tiktoken', 'safetensors')\n"
        "importlib.util.find_spec = lambda name, package=None: None if name.split('.')[0] in hidden else real(name, package)\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in hidden: raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    env = {"PYTHONPATH": str(hook.parent)}
    planned = tuitrain("plan", "gpt2", "--gpu", "rtx-4090", home=tmp_path, env=env)
    assert planned.returncode == 0, planned.stderr
    simulated = ["plan", "smollm2-135m", "--gpu", "rtx-4090", "--simulate"]
    for command in (
        ["train", str(config), "train.steps=2"], ["chat", "latest"], ["demo"], ["data", "prepare", str(config)], simulated
    ):  # fmt: skip
        done = tuitrain(*command, home=tmp_path / "home", env=env)
        if command[0] == "chat":  # there is no run to talk to
            assert done.returncode == 2
            continue
        assert done.returncode == 4, (command, done.stderr)
        assert "pip install 'tuitrain[train]'" in done.stderr
