"""Runs of a tiny model on a tiny corpus, in this process or through the real launcher."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuitrain.config.load import load_config
from tuitrain.config.resolve import resolve
from tuitrain.config.schema import Config
from tuitrain.runs.launch import prepare_run
from tuitrain.runs.machine import this_machine
from tuitrain.runs.store import Run, RunStore

TINY = """
[run]
name = "tiny"
threads = 1
[model]
architecture = "qwen3"
hidden_size = 32
num_layers = 2
num_heads = 2
num_kv_heads = 1
[tokenizer]
vocab_size = 300
[train]
seq_len = 32
batch_tokens = 256
compile = "off"
precision = "fp32"
[optim]
lr = 0.003
matrix_lr = 0.02
[eval]
sample_tokens = 4
prompts = ["the "]
max_tokens = 512
"""


def write_corpus(folder: Path, *, documents: int = 30, words: int = 60) -> Path:
    """Text files of numbered sentences: real structure, nothing random."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(documents):
        text = " ".join(f"the {word * 7 % 31} of {number * word % 17} is {(number + word) % 23}." for word in range(1, words))
        (folder / f"document-{number:03d}.txt").write_text(text)
    return folder


def tiny_config(tmp_path: Path, *overrides: str) -> Config:
    """The tiny run on its corpus, with overrides."""
    tmp_path.mkdir(parents=True, exist_ok=True)
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    corpus = write_corpus(tmp_path / "corpus")
    return load_config(file, [f'data.sources=[{{path="{corpus}"}}]', *overrides])


def tiny_run(tmp_path: Path, *overrides: str, plan: dict[str, Any] | None = None) -> Run:
    """A prepared run that nobody has started."""
    config = tiny_config(tmp_path, *overrides)
    machine = this_machine()
    return prepare_run(resolve(config, machine), config, RunStore(tmp_path / "runs"), machine, plan=plan, command="test")


def wait_for(condition: Callable[[], object], what: str, run: Run, *, patience_s: float) -> None:
    """Until something is so of a run in other processes; its log when that takes too long."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {patience_s:.0f} s for {what}; log:\n{run.log_file.read_text()[-3000:]}")
        time.sleep(0.02)
