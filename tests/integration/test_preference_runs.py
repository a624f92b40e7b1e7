"""Preference tuning end to end, on a tiny model: every loss trains, the reference comes from the disk, pairs are told apart."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from support.attempts import attempt, of_kind

from tuitrain.config.load import load_config
from tuitrain.config.resolve import resolve
from tuitrain.runs.home import cache_dir
from tuitrain.runs.launch import prepare_run
from tuitrain.runs.machine import this_machine
from tuitrain.runs.store import Run, RunStore


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny chat model."""
    from support.tuning import tokenizer_folder
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base") / "llama"
    shutil.copytree(tokenizer_folder("smollm2"), folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=768, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def pairs(path: Path, count: int = 24) -> Path:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"What is {number} and {number}?"}],
            "chosen": [{"role": "assistant", "content": f"It is {2 * number}."}],
            "rejected": [{"role": "assistant", "content": f"No idea at all, ask somebody else about {number}."}],
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_of(tmp_path: Path, base: Path, *overrides: str, name: str = "run") -> Run:
    data = pairs(tmp_path / "pairs.jsonl")
    config = load_config(None, [
        f"run.name={name}", "run.stage=dpo", f"model.base={base}", f'data.sources=[{{path="{data}"}}]',
        "data.validation_frac=0.2",
        "run.threads=1", "train.seq_len=112", "train.precision=fp32", "train.batch_sequences=4", "train.steps=12",
        "optim.lr=0.003", "eval.sample_tokens=0", "checkpoint.every_steps=0", "guard.enabled=false", *overrides,
    ])  # fmt: skip
    machine = this_machine()
    run = prepare_run(resolve(config, machine), config, RunStore(tmp_path / "runs"), machine, plan=None, command="test")
    assert attempt(run) == 0, [event.data for event in of_kind(run, "run_end")]
    return run


@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo", "orpo", "kto"])
def test_every_loss_learns_which_answer_is_better(loss: str, base: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path, base, f"preference.loss={loss}")
    steps, evals = of_kind(run, "step"), of_kind(run, "eval")
    assert evals[0].step == 0
    assert evals[-1].number("loss") < evals[0].number("loss"), [event.number("loss") for event in evals]
    assert evals[-1].data["reward_margin"] > evals[0].data["reward_margin"]
    assert {"reward_chosen", "reward_rejected"} & set(steps[-1].data)
    assert evals[-1].data["accuracy"] >= 0.75
    if loss == "dpo":
        assert evals[0].number("loss") == pytest.approx(math.log(2), abs=1e-4), "an untouched model is its own reference"
        assert evals[0].data["accuracy"] == 0.5


def test_the_reference_runs_once_and_is_kept(base: Path, tmp_path: Path) -> None:
    first = run_of(tmp_path, base, name="first")
    assert any(event.data["name"] == "reference" for event in of_kind(first, "phase"))
    kept = sorted(path.name for path in (cache_dir() / "references").rglob("*.npy"))
    assert kept
    second = run_of(tmp_path, base, name="second")
    assert not any(event.data["name"] == "reference" for event in of_kind(second, "phase"))
    assert [event.number("loss") for event in of_kind(first, "step")] == [
        event.number("loss") for event in of_kind(second, "step")
    ]
    run_of(tmp_path, base, "train.seq_len=128", name="other")
    assert len(list((cache_dir() / "references").rglob("*.npy"))) > len(kept), "another length is another reference"


def test_without_an_adapter_the_reference_is_the_model_before_the_first_step(base: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path, base, "method.kind=full", "optim.lr=0.0005")
    evals = of_kind(run, "eval")
    assert evals[0].number("loss") == pytest.approx(math.log(2), abs=1e-4)
    assert evals[-1].number("loss") < evals[0].number("loss")
