"""Optimizers of bitsandbytes: moments in 8 bits train, and a run that stopped goes on with them exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.attempts import attempt, losses
from support.tiny_chat import conversations, tiny_chat_model, write_config

from tuitrain.config.load import load_config
from tuitrain.config.resolve import resolve
from tuitrain.errors import EnvironmentError_
from tuitrain.runs.launch import prepare_run
from tuitrain.runs.machine import this_machine
from tuitrain.runs.store import Run, RunStore

pytest.importorskip("bitsandbytes")


def run_of(tmp_path: Path, name: str, *overrides: str) -> Run:
    if not (tmp_path / "base").exists():
        tiny_chat_model(tmp_path / "base")
    file = write_config(tmp_path / f"{name}.toml", tmp_path / "base", conversations(tmp_path / "talk.jsonl"))
    config = load_config(file, [f"run.name={name}", "checkpoint.every_steps=2", "eval.sample_tokens=0", *overrides])
    machine = this_machine()
    return prepare_run(resolve(config, machine), config, RunStore(tmp_path / "runs"), machine, plan=None, command="test")


def test_moments_in_8_bits_are_resumed_exactly(tmp_path: Path) -> None:
    # Tensors below 4096 entries keep 32-bit moments; rank 32 on width 128 makes some that do not.
    whole = run_of(tmp_path, "whole", "optim.kind=adamw-8bit", "method.rank=32")
    assert attempt(whole) == 0
    parts = run_of(tmp_path, "parts", "optim.kind=adamw-8bit", "method.rank=32")
    assert attempt(parts, stop_after=2) == 0
    assert attempt(parts, number=2) == 0
    assert losses(parts) == losses(whole)
    assert len(losses(whole)) == 4


def test_paged_moments_need_a_cuda_device_and_say_so(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError_, match="pages between a CUDA device") as raised:
        attempt(run_of(tmp_path, "paged", "optim.kind=adamw-paged"))
    assert "adamw-8bit" in raised.value.hint
