"""Bugs that other trainers shipped and that no other test here would name; `contracts/test_regressions.py` lists them all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.attempts import attempt, losses, of_kind
from support.runs import tiny_run
from support.tiny import ALONE, SEQ_LEN, sequences, tiny_training

from tuitrain.data import Batch
from tuitrain.trainer.evaluate import evaluate


class _Loader:
    """Two batches, the second short and with few targets."""

    seq_len, rows_per_sequence, sequences_per_epoch = SEQ_LEN, 1, 5.0

    def validation_batches(self, batch: int, max_tokens: int | None = None):
        tokens, targets = (each.numpy() for each in sequences(5))
        for rows in (slice(0, 4), slice(4, 5)):
            count = int((targets[rows] >= 0).sum())
            yield Batch(
                tokens=tokens[rows],
                targets=targets[rows],
                document_ids=None,
                position_ids=None,
                num_targets=count,
                num_bytes=count,
            )


def test_a_short_last_batch_weighs_by_its_tokens() -> None:
    """torchtitan#4167 averaged the means of batches."""
    loss, _ = tiny_training()
    found = evaluate(loss, _Loader(), ALONE, micro_batch=4, max_tokens=None)
    tokens, targets = sequences(5)
    with torch.no_grad():
        whole = float(loss(tokens, targets)) / int((targets >= 0).sum())
        means = [
            float(loss(tokens[rows], targets[rows])) / int((targets[rows] >= 0).sum()) for rows in (slice(0, 4), slice(4, 5))
        ]
    assert found.loss == pytest.approx(whole, rel=1e-6)
    assert abs(np.mean(means) - whole) > 1e-4, "the wrong way would show"


def test_the_optimizers_own_step_counts_on_and_survives_a_resume(tmp_path: Path) -> None:
    """OLMo-core's SkipStepAdamW never incremented its step: bias correction stayed that of the first."""
    from tuitrain.trainer import setup as setup_module

    seen: list[int] = []
    original = setup_module.Setup.after_probe

    def keep(self) -> None:
        original(self)
        kept.append(self)

    kept: list = []
    run = tiny_run(tmp_path, "train.steps=6", "optim.kind=adamw", "optim.matrix_lr=auto", "checkpoint.every_steps=3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup_module.Setup, "after_probe", keep)
        assert attempt(run, stop_after=3) == 0
    seen = [int(state["step"]) for state in kept[0].optimizers.all[0].state.values()]
    assert set(seen) == {3}
    from tuitrain.trainer import saver as saver_module

    restored: list = []
    restore = saver_module.Saver.restore

    def look(self, step: int) -> None:
        restore(self, step)
        restored.append(self._setup)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saver_module.Saver, "restore", look)
        assert attempt(run, number=2) == 0
    assert {int(state["step"]) for state in restored[0].optimizers.all[0].state.values()} == {6}


def test_no_two_layers_begin_with_the_same_weights() -> None:
    """OLMo-core's pipeline chunks were initialised identically."""
    loss, _ = tiny_training()
    first, second = (layer.self_attn.q_proj.weight for layer in loss.decoder.model.layers)
    assert not torch.equal(first, second)


def test_the_loss_a_run_ends_with_is_its_last_and_no_mean(tmp_path: Path) -> None:
    """unsloth#8314 showed the mean of the run as its final loss."""
    run = tiny_run(tmp_path, "train.steps=5")
    assert attempt(run) == 0
    end = of_kind(run, "run_end")[0]
    assert end.number("loss") == losses(run)[5]
    assert end.number("loss") != pytest.approx(np.mean(list(losses(run).values())))
