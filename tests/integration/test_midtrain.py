"""Mid-training: on from a run of our own, or from any Hugging Face model, on text, with a share of what the base has seen."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from support.attempts import attempt, losses, of_kind
from support.runs import tiny_config, write_corpus

from tuitrain.config.load import load_config
from tuitrain.config.resolve import resolve
from tuitrain.config.resolved import load_resolved
from tuitrain.errors import ConfigError
from tuitrain.runs.launch import prepare_run
from tuitrain.runs.machine import this_machine
from tuitrain.runs.store import Run, RunStore


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished pretraining run of 12 steps."""
    monkeypatch.setenv("TUITRAIN_RUNS_DIR", str(tmp_path / "runs"))
    return _run(tmp_path, tiny_config(tmp_path, "train.steps=12", "eval.every_steps=12"))


def _run(tmp_path: Path, config) -> Run:
    machine = this_machine()
    run = prepare_run(resolve(config, machine), config, RunStore(tmp_path / "runs"), machine, plan=None, command="test")
    assert attempt(run) == 0
    return run


def _from(base: str, tmp_path: Path, *overrides: str):
    corpus = write_corpus(tmp_path / "more", documents=12, words=40)
    return load_config(None, [
        "run.name=more", "run.stage=midtrain", f"model.base={base}", f'data.sources=[{{path="{corpus}"}}]', "run.threads=1",
        "train.steps=4", "train.seq_len=32", "train.batch_tokens=256", "train.precision=fp32", "train.compile=off",
        "eval.sample_tokens=2", "eval.max_tokens=512", *overrides,
    ])  # fmt: skip


def _qwen2(tmp_path: Path) -> Path:
    """A tiny model of a family that our own decoder does not compute (it has biases)."""
    from support.tuning import tokenizer_folder
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path / "qwen2"
    shutil.copytree(tokenizer_folder("qwen2.5"), folder)
    size = {"vocab_size": 768, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    Qwen2ForCausalLM(Qwen2Config(**size, num_key_value_heads=1, max_position_embeddings=256)).save_pretrained(folder)
    return folder


def test_goes_on_where_the_base_stopped_with_rates_re_warmed(pretrained: Run, tmp_path: Path) -> None:
    config = _from(pretrained.run_id, tmp_path, "data.replay_frac=0.5", "train.steps=24")
    before = load_resolved(pretrained.path).config
    resolved = resolve(config, this_machine())
    assert resolved.config.optim.kind == "muon"
    assert resolved.config.optim.matrix_lr == pytest.approx(0.3 * before.optim.matrix_lr)
    assert [each.path for each in resolved.config.data.replay_sources] == [each.path for each in before.data.sources]
    run = _run(tmp_path, config)
    untouched, *_ = of_kind(run, "eval")
    assert untouched.step == 0
    fresh = of_kind(pretrained, "eval")[0].number("loss")
    assert untouched.number("loss") < math.log(300) - 1, f"it knows the language: {untouched.number('loss')}, {fresh}"
    assert len(losses(run)) == 24
    first = of_kind(run, "step")[0].data["lr"]
    assert first < max(event.data["lr"] for event in of_kind(run, "step")), "the schedule warms up again"


def test_a_model_only_transformers_computes_is_trained_by_transformers(tmp_path: Path) -> None:
    run = _run(tmp_path, _from(str(_qwen2(tmp_path)), tmp_path, "optim.lr=0.01"))
    seen = losses(run)
    assert list(seen) == [1, 2, 3, 4]
    folder = run.model_dir()
    assert folder is not None
    assert (folder / "config.json").read_text().find('"qwen2"') > 0


def test_replaying_needs_to_know_what(tmp_path: Path) -> None:
    config = _from(str(_qwen2(tmp_path)), tmp_path, "data.replay_frac=0.2")
    with pytest.raises(ConfigError, match="no run of ours") as raised:
        resolve(config, this_machine())
    assert "data.replay_sources" in str(raised.value)
