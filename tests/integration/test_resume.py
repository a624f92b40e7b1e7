"""Resume is exact: N + N steps equal 2 N bit for bit - weights, optimizer, random generators, schedule, position in the
data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from support.attempts import attempt, losses, of_kind
from support.runs import tiny_run

from tuitrain.files import read_json
from tuitrain.runs.store import Run
from tuitrain.trainer.manifest import problem_with

STEPS = 12


def run_of(folder: Path, *overrides: str) -> Run:
    return tiny_run(folder, f"train.steps={STEPS}", "checkpoint.every_steps=4", "eval.every_steps=5", *overrides)


def state_of(run: Run) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """(every tensor of the last checkpoint by name, trainer.json without times)."""
    import warnings

    from safetensors.torch import load_file
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

    folder = run.checkpoints_dir / f"step-{STEPS:08d}"
    tensors = {f"model.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    tensors |= {f"rng.{name}": tensor for name, tensor in load_file(folder / "rng.safetensors").items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.distributed is not initialised, and need not be
        optimizer = _load_state_dict_from_keys({"optimizer"}, checkpoint_id=folder / "state")["optimizer"]
    for name, value in _flat(optimizer, "optimizer"):
        tensors[name] = value if isinstance(value, torch.Tensor) else torch.tensor(value)
    state = read_json(folder / "trainer.json")
    del state["position"]["train_s"]
    return tensors, state


def _flat(tree, prefix):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}")
    elif isinstance(tree, (torch.Tensor, int, float)) and not isinstance(tree, bool):
        yield prefix, tree


def assert_identical(got: Run, want: Run) -> None:
    assert losses(got) == losses(want)
    (got_tensors, got_state), (want_tensors, want_state) = state_of(got), state_of(want)
    assert got_tensors.keys() == want_tensors.keys()
    different = [name for name, tensor in want_tensors.items() if not torch.equal(tensor, got_tensors[name])]
    assert different == []
    assert got_state == want_state
    evals = [[(event.step, event.number("loss")) for event in of_kind(run, "eval")] for run in (got, want)]
    assert dict(evals[0]) == dict(evals[1])


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["optim.kind=muon"], id="muon"),
        pytest.param(
            [
                "optim.kind=adamw",
                "optim.matrix_lr=auto",
                "train.micro_batch=2",
                "schedule.kind=cosine",
                "schedule.warmup_steps=3",
            ],
            id="adamw-accumulating",
        ),
        pytest.param(
            ["train.precision=bf16-mixed", "data.isolate_documents=true", "train.recompute=full"], id="bf16-isolated-recompute"
        ),
        pytest.param(["train.precision=fp16-mixed"], id="fp16"),
    ],
)
def test_stopped_and_resumed_twice_is_uninterrupted(tmp_path: Path, overrides: list[str]) -> None:
    whole, pieces = run_of(tmp_path / "whole", *overrides), run_of(tmp_path / "pieces", *overrides)
    assert attempt(whole) == 0
    assert attempt(pieces, stop_after=3) == 0
    assert max(losses(pieces)) == 3
    assert attempt(pieces, stop_after=4, number=2) == 0
    assert max(losses(pieces)) == 7
    assert attempt(pieces, number=3) == 0
    assert_identical(pieces, whole)
    state = pieces.fold()
    assert (state.state, state.step, state.attempts) == ("finished", STEPS, 3)


def test_resume_across_an_epoch_edge(tmp_path: Path) -> None:
    overrides = ["train.batch_tokens=1024", "data.validation_frac=0.4"]
    whole, pieces = run_of(tmp_path / "whole", *overrides), run_of(tmp_path / "pieces", *overrides)
    assert attempt(whole) == 0
    epochs = [event.number("epoch") for event in of_kind(whole, "step")]
    edge = next(step for step, epoch in enumerate(epochs, 1) if epoch >= 1)
    assert 1 < edge < STEPS, f"no epoch edge within {STEPS} steps: {epochs}"
    assert attempt(pieces, stop_after=edge - 1) == 0
    assert attempt(pieces, stop_after=1, number=2) == 0
    assert attempt(pieces, number=3) == 0
    assert_identical(pieces, whole)


def test_a_fresh_run_repeats_itself(tmp_path: Path) -> None:
    first, second = run_of(tmp_path / "first"), run_of(tmp_path / "second")
    assert attempt(first) == 0
    assert attempt(second) == 0
    assert_identical(second, first)


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "manifest"])
def test_a_broken_checkpoint_is_passed_over_by_name(tmp_path: Path, damage: str) -> None:
    whole, pieces = run_of(tmp_path / "whole"), run_of(tmp_path / "pieces")
    assert attempt(whole) == 0
    assert attempt(pieces, stop_after=6) == 0
    newest = pieces.checkpoints_dir / "step-00000006"
    weights = newest / "model.safetensors"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "flip":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "delete":
        shutil.rmtree(newest / "state")
    else:
        (newest / "manifest.json").unlink()
    assert problem_with(newest) is not None
    assert attempt(pieces, number=2) == 0
    warnings = [event.data["message"] for event in of_kind(pieces, "warning")]
    assert any("step-00000006" in message for message in warnings), warnings
    assert of_kind(pieces, "run_start")[-1].data["resumed_from_step"] == 4
    assert_identical(pieces, whole)


def test_nothing_whole_starts_from_the_beginning(tmp_path: Path) -> None:
    whole, pieces = run_of(tmp_path / "whole"), run_of(tmp_path / "pieces")
    assert attempt(whole) == 0
    assert attempt(pieces, stop_after=2) == 0
    (pieces.checkpoints_dir / "step-00000002" / "manifest.json").unlink()
    assert attempt(pieces, number=2) == 0
    assert_identical(pieces, whole)


def test_retention_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        "checkpoint.every_steps=1",
        "checkpoint.keep_last=2",
        "eval.every_steps=4",
        "optim.lr=0.3",
        "optim.matrix_lr=0.5",
    )
    assert attempt(run) == 0
    best = run.fold().best_eval
    assert best is not None
    kept = run.checkpoint_steps()
    assert {STEPS - 1, STEPS} <= set(kept)
    assert set(kept) <= {STEPS - 1, STEPS, best[0]}
    assert best[0] in kept
    assert all(problem_with(run.checkpoints_dir / f"step-{step:08d}") is None for step in kept)


def test_a_checkpoint_is_a_hugging_face_folder(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = run_of(tmp_path)
    assert attempt(run) == 0
    folder = run.model_dir()
    assert folder is not None
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("the 7 of 3", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(ids).logits
    assert torch.isfinite(logits).all()
    assert tokenizer.decode(ids[0]) == "the 7 of 3"


def test_two_trainers_on_one_run_are_refused(tmp_path: Path) -> None:
    from tuitrain.errors import RunError
    from tuitrain.files import exclusive_lock

    run = run_of(tmp_path)
    with exclusive_lock(run.path / "trainer.lock", wait=False) as free:
        assert free
        with pytest.raises(RunError, match="another trainer"):
            attempt(run)
