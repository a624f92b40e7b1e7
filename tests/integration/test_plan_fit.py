"""`tuitrain plan MODEL --fit`, run in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuitrain.cli.run import run

EIGHT = ("llama-3-8b", "--gpu", "h100-80gb", "--gpus", "8", "--seq", "8192", "--fit")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUITRAIN_HOME", str(tmp_path))


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["plan", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, err = plan(capsys, *arguments, "--json")
    assert code in (0, 3), err
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_table_then_the_plan_of_its_first_row_then_why_not_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = plan(capsys, *EIGHT, "--global-batch", "64")
    assert code == 0, err
    table, rest = out.split("\n\n", 2)[1:]
    header, *rows = table.splitlines()
    assert header.split()[:4] == ["layout", "ZeRO", "recompute", "batch"]
    assert len(rows) == 8
    assert rows[0].startswith("dp 8 ")
    assert "llama-3-8b on NVIDIA H100" in rest
    why = rest[rest.index("rejected: ") :]
    assert "out of memory by" in why
    assert "a step would take" in why
    assert "64 sequences per step" in out


def test_json_has_the_layouts_and_the_plan_is_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, *EIGHT, "--batch-tokens", str(64 * 8192))
    fit, best = found["fit"], found["fit"]["best"]
    assert (fit["global_batch"], len(best)) == (64, 8)
    assert fit["layouts"] > fit["fitting"] > 0
    assert [each["step_s"] for each in best] == sorted(each["step_s"] for each in best)
    for each in best:
        assert each["dp"] * each["tp"] * each["pp"] * each["cp"] == 8
        assert each["dp"] * each["micro_batch"] * each["grad_accum"] == 64
        assert each["device_bytes_high"] <= found["memory"]["capacity_bytes"]
    assert found["time"]["step_s"] == best[0]["step_s"]
    assert found["memory"]["device_bytes"]["mid"] == best[0]["device_bytes"]
    assert fit["would_help"] == []
    near = [each for each in fit["rejected"] if each["layout"] is not None]
    assert all(each["missing_bytes"] > 0 for each in near)


def test_what_was_typed_stays_and_choices_are_searched(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--zero", "3", "--recompute", "full", "--tp", "2", "--micro-batch", "2", "--accum", "4")
    best = document(capsys, *EIGHT, *options, "--precision", "bf16-mixed,bf16-pure", "--loss", "plain,fused")["fit"]["best"]
    assert {(each["tp"], each["zero"], each["recompute"]) for each in best} == {(2, 3, "full")}
    assert {each["dp"] * each["micro_batch"] * each["grad_accum"] for each in best} == {4 * 2 * 4}
    assert {each["loss_head"] for each in best} <= {"plain", "fused"}


def test_nothing_fits_exit_3_the_nearest_and_what_would_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = plan(capsys, "llama-3-8b", "--gpu", "rtx-4090", "--gpus", "2", "--seq", "4096", "--fit")
    assert code == 3
    assert "0 fit" in out
    assert "nothing fits; planned is the nearest layout" in out
    assert "out of memory by" in out[out.index("rejected: ") :]
    assert "would help: LoRA" in out


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("gpt2", "--gpu", "l4", "--global-batch", "8"), "--global-batch without --fit"),
        (("gpt2", "--gpu", "l4", "--fit", "--global-batch", "8", "--batch-tokens", "8k"), "both"),
        (("gpt2", "--gpu", "l4", "--fit", "--global-batch", "8", "--accum", "2"), "--global-batch and --accum"),
        (("gpt2", "--gpu", "l4", "--fit", "--batch-tokens", "1500"), "take 1024 (1 sequences) or 2048 (2 sequences)"),
        (("gpt2", "--gpu", "l4", "--fit", "--loss", "plain,chunky"), "chunky"),
        (("gpt2", "--gpu", "l4", "--precision", "fp32,bf16-pure"), "fp32,bf16-pure"),
        (
            ("gpt2", "--gpu", "l4", "--gpus", "13", "--fit", "--global-batch", "3"),
            "dp 13 does not divide the global batch of 3",
        ),
        (("gpt2", "--gpu", "l4", "--gpus", "4", "--pp", "2", "--gpipe", "--fit"), "--gpipe"),
        (("gpt2", "--gpu", "l4", "--fit", "--zero", "7"), "ZeRO stage 7"),
        (("--hours", "3", "--gpu", "l4", "--fit"), "MODEL"),
        (("some.toml", "--fit"), "--fit and a CONFIG.toml"),
    ],
)
def test_what_cannot_be_is_refused_with_its_values(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], names: str
) -> None:
    code, out, err = plan(capsys, *arguments)
    assert (code, out) == (2, "")
    assert names in err
