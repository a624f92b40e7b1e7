"""`tuitrain plan` and what people mistype: an error with the value, a hint, exit code 2, nothing on stdout, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuitrain.cli.run import run

GPU = ("--gpu", "h100-80gb")
LLAMA = {
    "model_type": "llama", "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUITRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TUITRAIN_RUNS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """What was said; run() raises when anything but a message comes out."""
    assert run(["plan", *arguments]) == code, arguments
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith("error: ")
    assert "\nhint: " in said
    return said


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        *((option, value, f"{option} {value}") for option in ("--gpus", "--seq", "--micro-batch", "--accum")
          for value in ("0", "-1", "99999999999999999999")),
        *((option, value, option) for option in ("--gpus", "--seq", "--micro-batch", "--accum") for value in ("", "x", "1.5")),
        *(("--tokens", value, value) for value in ("-1", "0", "0.5", "nan", "inf", "1e300", "1e400", "1 2", "+-3", "1,5B")),
        ("--tokens", "", "''"),
        ("--tokens", "80GB", "'GB'"),
        ("--tokens", "80GiB", "'GiB'"),
        ("--tokens", "12 furlongs", "furlongs"),
        *(("--hours", value, "--hours") for value in ("nan", "inf", "-inf", "0", "-1", "1e300", "", "x")),
        *((option, value, value) for option in ("--price", "--kwh-price") for value in ("nan", "inf", "-1")),
        *(("--zero", value, value) for value in ("4", "-1", "ALL", "1.0")),
        ("--precision", "fp7", "bf16-mixed"),
        ("--optimizer", "", "adamw"),
        ("--recompute", "some", "selective"),
        ("--loss", "", "chunked"),
        ("--law", "", "epoch"),
        ("--country", "", "world"),
        ("--framework", "", "tuitrain"),
        ("--explain", "", "--explain all"),
        ("--explain", "memory.peak", "memory.peak_bytes"),
        ("--explain", "\x1b[31m", "no number"),
        ("--sequence", "3", "--sequence"),
    ],
)  # fmt: skip
def test_an_option_is_refused_by_its_value(option: str, value: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "gpt2", *GPU, f"{option}={value}")
    assert named in said
    assert "\x1b" not in said


@pytest.mark.parametrize("size", ["-7B", "0", "nan", "inf", "7GB", "1e400", "1e30", "", "7e9x", "B"])
def test_a_size_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, f"--params={size}", *GPU)


@pytest.mark.parametrize(
    ("gpu", "named"),
    [("", "h100-80gb"), ("h100-80GB", "'h100-80gb'"), ("../models/gpt2", "known"), ("h100-80GiB", "'h100-80gb'")],
)
def test_hardware_is_refused_by_its_name(gpu: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert named in refused(capsys, "gpt2", f"--gpu={gpu}")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": -4096}, "-4096"),
        ({"num_hidden_layers": 0}, "0"),
        ({"num_attention_heads": 33}, "33 is not a multiple of num_kv_heads 8"),
        ({"num_key_value_heads": 5}, "choose num_kv_heads among"),
        ({"hidden_size": 4096.5}, "4096.5"),
        ({"hidden_size": "4096"}, "'4096'"),
        ({"num_hidden_layers": True}, "True"),
        ({"vocab_size": None}, "vocab_size"),
        ({"vocab_size": float("inf")}, "inf"),
        ({"hidden_size": float("nan")}, "nan"),
        ({"hidden_size": [1]}, "[1]"),
        ({"model_type": "bert"}, "'bert'"),
    ],
)
def test_a_config_json_is_refused_by_its_value(change: dict, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.json").write_text(json.dumps(LLAMA))
    assert run(["plan", "config.json", *GPU, "--zero", "0"]) in (0, 3)
    capsys.readouterr()
    Path("config.json").write_text(json.dumps({**LLAMA, **change}))
    assert named in refused(capsys, "config.json", *GPU)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        bytes(range(256)),
        '{"a": "é"}'.encode("latin-1"),
        b"[" * 100_000,
        json.dumps(LLAMA).encode("utf-16"),
    ],
    ids=["empty", "list", "null", "torn", "binary", "latin-1", "deep", "utf-16"],
)
def test_what_is_no_config_json_is_refused(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.json").write_bytes(content)
    assert "model.json" in refused(capsys, "model.json", *GPU)


def test_what_is_no_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.json").mkdir()
    Path("nested/config.json").mkdir(parents=True)
    Path("empty").mkdir()
    os.mkfifo("pipe.json")
    assert "folder" in refused(capsys, "nested", *GPU)
    assert "no regular file" in refused(capsys, "pipe.json", *GPU)
    for name in ("folder.json", "missing.json", "empty", ".", "", "/dev/null", "x" * 5000, "x" * 5000 + ".json",
                 "~nobody-xyz/a.json", "a\0b", "a\0b.json", "gpt2\n", "d0", "d-3", "d2000", "d" + "9" * 60):  # fmt: skip
        refused(capsys, name, *GPU)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[model\n", b"[train]\nseq_len = -4\n", b"[model]\nhidden_size = 100\n"])
def test_a_broken_configuration_is_refused(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_bytes(content)
    assert "run.toml" in refused(capsys, "run.toml")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("gpt2", "--json", "--markdown"), "--json and --markdown"),
        (("gpt2", "--html", "--json"), "--json and --html"),
        (("gpt2", "--markdown", "--html", "--json"), "--json and --markdown and --html"),
        (("gpt2", "--explain", "all", "--json"), "--explain and --json"),
        (("gpt2", "--params", "7B"), "--params"),
        (("gpt2", "--price", "1", "--kwh-price", "1"), "give one of them"),
        (("gpt2", "--hours", "1", "--tokens", "3"), "give one of them"),
        (("gpt2", "a.b=c"), "without a CONFIG.toml"),
        (("gpt2", "--seq", "4096"), "1024 learned positions"),
    ],
)
def test_contradictions_are_refused(arguments: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert named in refused(capsys, *arguments, *GPU)


def test_a_time_too_short_for_one_step_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert "one step is 1024" in refused(capsys, "gpt2", *GPU, "--hours", "1e-12", code=3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "no run in"),
        (("--undo",), "no calibration to undo"),
        (("--undo", "--dry-run"), "--undo"),
        (("--undo", "--remeasure"), "--remeasure"),
        (("--dry-run", "--remeasure"), "give one of them"),
        (("extra",), "extra"),
    ],
)
def test_calibrate_refuses_what_it_cannot_do(
    arguments: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in refused(capsys, "calibrate", *arguments)
    assert not Path("home/machine.json").exists()


def test_closed_and_full_outputs_end_without_a_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m tuitrain plan gpt2 --gpu h100-80gb"
    for shell, code in ((f"{command} --json | head -c 1", 0), (f"{command} > /dev/full", 4), (f"{command} >&-", 0)):
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
