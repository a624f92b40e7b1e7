"""The probe: out of memory is found before step 1 and answered by a smaller micro-batch, never by another global batch."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from support.attempts import attempt, losses, of_kind
from support.runs import tiny_run

from tuitrain.config.resolved import load_resolved
from tuitrain.errors import DoesNotFitError
from tuitrain.trainer import probe as probe_module


def out_of_memory_above(monkeypatch: pytest.MonkeyPatch, sequences: int) -> None:
    """Steps with larger micro-batches fail as the CPU allocator fails."""
    real = probe_module.train_step

    def train_step(module, optimizers, batches, *arguments, **keywords):
        if batches[0].tokens.shape[0] > sequences:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory")
        return real(module, optimizers, batches, *arguments, **keywords)

    monkeypatch.setattr(probe_module, "train_step", train_step)


def test_out_of_memory_makes_the_micro_batch_smaller_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = tiny_run(tmp_path / "free", "train.steps=4", "optim.kind=adamw", "optim.matrix_lr=auto")
    assert attempt(free) == 0
    tight = tiny_run(tmp_path / "tight", "train.steps=4", "optim.kind=adamw", "optim.matrix_lr=auto")
    out_of_memory_above(monkeypatch, 2)
    assert attempt(tight) == 0
    start = of_kind(tight, "run_start")[0].data
    assert (start["micro_batch"], start["grad_accum"], start["tokens_per_step"]) == (2, 4, 256)
    assert "reduced from 8 to 2" in of_kind(tight, "warning")[0].data["message"]
    assert "do not fit" in load_resolved(tight.path).reason("train.micro_batch")
    for step, loss in losses(free).items():
        assert losses(tight)[step] == pytest.approx(loss, rel=1e-4)


def test_not_even_one_sequence_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_run(tmp_path, "train.steps=4")
    out_of_memory_above(monkeypatch, 0)
    with pytest.raises(DoesNotFitError, match="one sequence of 32 tokens"):
        attempt(run)


def test_growth_is_extrapolated_before_it_is_dared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux kills rather than refuses: what one sequence takes bounds what is tried."""
    tried: list[int] = []
    real = probe_module._one_step

    def one_step(setup, micro_batch, **keywords):
        tried.append(micro_batch)
        return real(setup, micro_batch, **keywords)

    monkeypatch.setattr(probe_module, "_one_step", one_step)
    monkeypatch.setattr(probe_module, "_available", lambda setup: 3 << 20)  # at least 1 MiB per sequence: two fit
    run = tiny_run(tmp_path, "train.steps=2")
    assert attempt(run) == 0
    assert max(tried) == 2


def test_another_error_is_not_mistaken_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments, **keywords):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(probe_module, "train_step", broken)
    with pytest.raises(RuntimeError, match="shapes cannot"):
        attempt(tiny_run(tmp_path, "train.steps=2"))


def test_the_probe_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first loss of a fresh model is ln V: the probe's steps are undone."""
    run = tiny_run(tmp_path, "train.steps=1", "model.tie_embeddings=false")
    assert attempt(run) == 0
    assert losses(run)[1] == pytest.approx(torch.log(torch.tensor(320.0)).item(), abs=1e-4)


@pytest.mark.parametrize("minutes", [0.05, 0.15])
def test_minutes_become_steps(tmp_path: Path, minutes: float) -> None:
    run = tiny_run(tmp_path, f"train.minutes={minutes}")
    assert attempt(run) == 0
    state = run.fold()
    assert state.state == "finished"
    resolved = load_resolved(run.path)
    assert "minutes at" in resolved.reason("train.steps")
    assert state.step == state.total_steps == resolved.config.train.steps
    trained_s = float(state.steps.column("step_s").sum() + state.evals.column("eval_s").sum())
    assert trained_s < minutes * 60 * 1.3


def test_a_full_disk_fails_the_save_and_keeps_run_and_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuitrain.trainer import checkpoint as checkpoint_module

    real = checkpoint_module.write_stream
    run = tiny_run(tmp_path, "train.steps=9", "checkpoint.every_steps=3", "checkpoint.keep_last=5")

    def full(path, pieces, whole, **listeners):
        if "00000006" in path.parent.name:
            path.write_bytes(b"x" * 1000)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, pieces, whole, **listeners)

    monkeypatch.setattr(checkpoint_module, "write_stream", full)
    assert attempt(run) == 0
    assert run.checkpoint_steps() == [3, 9]
    failed = [event for event in of_kind(run, "checkpoint") if not event.data["ok"]]
    assert [event.step for event in failed] == [6]
    assert "No space left" in failed[0].data["error"]
    assert [path.name for path in run.checkpoints_dir.iterdir() if path.name.startswith(".")] == []


def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    run = tiny_run(tmp_path, "train.steps=3")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    assert attempt(run) == 1
    state = run.fold()
    assert state.state == "failed"
    assert "could not be written" in str(state.end.data["reason"])
    assert "MiB are free" in of_kind(run, "checkpoint")[0].data["error"]
