"""Whole runs of several processes, by the launcher: cut models are evaluated, sampled and saved; a run that was killed goes on
in another layout; fine-tuning is the same under every stage."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.attempts import attempt, losses, of_kind
from support.runs import tiny_run, wait_for
from support.tuning import base_folder, chats, pairs, tuning_run
from typer.testing import CliRunner

from tuitrain.cli.app import app
from tuitrain.config.resolved import load_resolved
from tuitrain.runs.kill import kill
from tuitrain.runs.launch import start
from tuitrain.runs.store import Run

PATIENCE_S = 150.0


@pytest.fixture(autouse=True)
def known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuitrain.trainer.attempt.matmul_peak", lambda device, dtype: 1e11)


def finished(run: Run) -> None:
    wait_for(lambda: not run.liveness().alive, "the end", run, patience_s=PATIENCE_S)
    assert run.fold().state == "finished", run.log_file.read_text()[-3000:]


def as_one(run: Run, alone: Run, limit: float) -> None:
    """The same losses, training and held out."""
    mine, theirs = losses(run), losses(alone)
    assert mine.keys() == theirs.keys()
    assert max(abs(mine[step] / theirs[step] - 1) for step in theirs) < limit
    judged = [[each.number("loss") for each in of_kind(each_run, "eval")] for each_run in (run, alone)]
    assert judged[0] == pytest.approx(judged[1], rel=limit)


SIZE = ("train.steps=60", "checkpoint.every_steps=10", "eval.every_steps=30", "eval.max_tokens=384", "train.batch_tokens=512",
        "optim.kind=adamw", "optim.matrix_lr=auto", "train.micro_batch=4")  # fmt: skip


def test_a_killed_run_of_two_under_zero_3_goes_on_as_one_process(tmp_path: Path) -> None:
    alone = tiny_run(tmp_path / "alone", *SIZE)
    assert attempt(alone) == 0
    run = tiny_run(tmp_path / "two", *SIZE, "run.nproc=2", "parallel.zero=3")
    start(run)
    wait_for(
        lambda: (run.checkpoints_dir / "step-00000020").exists() or not run.liveness().alive,
        "a checkpoint",
        run,
        patience_s=PATIENCE_S,
    )
    kill(run)
    wait_for(lambda: not run.liveness().alive, "the end", run, patience_s=PATIENCE_S)
    assert max(losses(run)) < 60, "the run ended before it could be killed: give it more steps"
    command = ["runs", "resume", str(run.path), "--nproc", "1", "parallel.zero=0"]
    refused = CliRunner().invoke(app, [*command, "optim.lr=0.1"])
    assert refused.exit_code != 0
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    finished(run)
    assert load_resolved(run.path).config.run.nproc == 1
    mine, theirs = losses(run), losses(alone)
    assert mine.keys() == theirs.keys()
    assert max(abs(mine[step] / theirs[step] - 1) for step in theirs) < 1e-4
    samples = [[each.data["text"] for each in of_kind(each_run, "sample")] for each_run in (run, alone)]
    assert samples[0][-1] == samples[1][-1]


@pytest.mark.parametrize(
    ("zero", "overrides"),
    [
        (3, ("method.kind=lora", "optim.lr=0.002")),
        (2, ("method.kind=full", "run.stage=dpo", "optim.lr=0.0005")),
        pytest.param(1, ("method.kind=full", "optim.lr=0.0005"), marks=pytest.mark.slow),
        pytest.param(3, ("method.kind=qlora", "optim.lr=0.002"), marks=pytest.mark.slow),
        pytest.param(3, ("run.stage=dpo", "method.kind=lora", "preference.loss=kto"), marks=pytest.mark.slow),
    ],
    ids=lambda value: "-".join(each.partition("=")[2] for each in value) if isinstance(value, tuple) else f"zero{value}",
)
def test_two_processes_fine_tune_as_one_does(tmp_path: Path, zero: int, overrides: tuple[str, ...]) -> None:
    rows = pairs() if "run.stage=dpo" in overrides else chats()
    asked = ("train.steps=4", "train.batch_sequences=4", "train.micro_batch=1", "eval.every_steps=2", *overrides)
    base = base_folder("llama", "llama3")
    alone = tuning_run(tmp_path / "alone", base, rows, *asked)
    assert attempt(alone) == 0
    run = tuning_run(tmp_path / "two", base, rows, *asked, "run.nproc=2", f"parallel.zero={zero}")
    start(run)
    finished(run)
    # KTO's baseline is of what one pass sees of all processes, so that it is another sum with two.
    as_one(run, alone, 0.05 if "preference.loss=kto" in overrides else 1e-4)
    file = "model.safetensors" if "method.kind=full" in overrides else "adapter_model.safetensors"
    mine, theirs = (load_file(each.checkpoints_dir / "step-00000004" / file) for each in (run, alone))
    assert mine.keys() == theirs.keys()
    assert {name: each.shape for name, each in mine.items()} == {name: each.shape for name, each in theirs.items()}
