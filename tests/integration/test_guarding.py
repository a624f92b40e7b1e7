"""Guards in a whole run: an injected NaN, infinity or spike ends in a skipped or rolled-back step, never in the weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from support.attempts import attempt, of_kind
from support.runs import tiny_run

from tuitrain.runs.store import Run
from tuitrain.trainer import step as step_module

STEPS = 30


class Poison:
    """Spoils the loss of chosen calls of the module's forward pass, as a bad batch or a bad kernel would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: set[int], factor: float) -> None:
        self.calls, self.armed = 0, False
        real = step_module.forward_backward

        def spoiled(module, batches, *, scale):
            if not self.armed:
                return real(module, batches, scale=scale)
            self.calls += 1
            loss, valid = real(module, batches, scale=scale * (factor if self.calls in at else 1.0))
            return (loss * factor if self.calls in at else loss), valid

        monkeypatch.setattr(step_module, "forward_backward", spoiled)


def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: set[int], factor: float, *overrides: str) -> Run:
    from tuitrain.trainer import attempt as attempt_module

    run = tiny_run(
        tmp_path, f"train.steps={STEPS}", "checkpoint.every_steps=5", "eval.every_steps=0", "guard.spike_sigma=20", *overrides
    )
    poison = Poison(monkeypatch, at, factor)
    real = attempt_module.probe

    def probe_first(setup):
        result = real(setup)
        poison.armed = True
        return result

    monkeypatch.setattr(attempt_module, "probe", probe_first)
    attempt(run)
    return run


@pytest.mark.parametrize(
    ("factor", "reason"), [(math.nan, "non_finite_loss"), (math.inf, "non_finite_loss"), (1e4, "loss_spike")]
)
def test_a_bad_step_is_left_out_and_its_batch_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, reason: str
) -> None:
    run = guarded(tmp_path, monkeypatch, {20}, factor)
    (trip,) = of_kind(run, "guard")
    assert (trip.step, trip.data["reason"], trip.data["action"]) == (20, reason, "skip")
    assert run.fold().state == "finished"
    lines = [json.loads(line) for line in (run.path / trip.data["batch_path"]).read_text().splitlines()]
    assert lines[0]["reason"] == reason
    assert len(lines) == 1 + 8
    assert all("the " in line["text"] for line in lines[1:])
    assert all(math.isfinite(event.number("loss")) for event in of_kind(run, "step") if event.step != 20)


def test_a_gradient_that_is_not_finite_trips_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.nn.utils.get_total_norm
    calls = 0

    def norm(*arguments, **keywords):
        nonlocal calls
        calls += 1
        return real(*arguments, **keywords) * (math.nan if calls == 25 else 1.0)

    monkeypatch.setattr(torch.nn.utils, "get_total_norm", norm)
    run = guarded(tmp_path, monkeypatch, set(), 1.0)
    (trip,) = of_kind(run, "guard")
    assert trip.data["reason"] == "non_finite_grad"
    assert run.fold().state == "finished"


def test_rollback_restores_the_checkpoint_and_goes_past_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = guarded(tmp_path, monkeypatch, {18}, math.nan, "guard.action=rollback")
    (trip,) = of_kind(run, "guard")
    assert (trip.data["action"], trip.data["rollback_to_step"]) == ("rollback", 15)
    state = run.fold()
    assert state.state == "finished"
    assert list(state.steps.column("step")) == list(range(1, STEPS + 1))
    assert [list(branch["step"]) for branch in state.abandoned] == [[16.0, 17.0, 18.0]]
    trained = [event.step for event in of_kind(run, "step")]
    assert trained == [*range(1, 19), *range(16, STEPS + 1)]


def test_skipping_too_often_rolls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = guarded(tmp_path, monkeypatch, {21, 22, 23}, math.nan, "guard.max_consecutive=3")
    assert [event.data["action"] for event in of_kind(run, "guard")] == ["skip", "skip", "rollback"]
    assert run.fold().state == "finished"


def test_a_run_that_cannot_be_saved_from_itself_stops_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = guarded(tmp_path, monkeypatch, set(range(12, 1000)), math.nan, "guard.max_consecutive=3")
    state = run.fold()
    assert state.state == "failed"
    assert "non_finite_loss" in str(state.end.data["reason"])
    assert of_kind(run, "guard")[-1].data["action"] == "stop"
    assert run.checkpoint_steps()[-1] == 10, "a broken state must not be saved over a good one"


def test_nan_from_the_first_step_stops_without_anything_to_go_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = guarded(tmp_path, monkeypatch, set(range(1, 1000)), math.nan, "guard.max_consecutive=4")
    state = run.fold()
    assert state.state == "failed"
    assert "nothing to go back to" in str(state.end.data["reason"])
    assert run.checkpoint_steps() == []
