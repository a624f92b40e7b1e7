"""Question and answer pairs out of the embedded docstrings, as rows that both trainers read; and the base model's folder."""

from __future__ import annotations

import importlib.metadata
import json
import random
from pathlib import Path

from tuitrain.data.chat.docstrings import docstring_examples
from tuitrain.data.chat.examples import Example
from tuitrain.runs.base_model import DEMO_MODEL, find_base

COUNT, HELD_OUT = 200, 10


def base_folder() -> str:
    """SmolLM2-135M-Instruct as a Hugging Face folder; made first where it is not there (some 20 s)."""
    return str(find_base(DEMO_MODEL, say=print).folder)


def versions() -> dict[str, str]:
    """Of the packages that fine-tuning adds, ours and TRL's."""
    return {name: importlib.metadata.version(name) for name in ("trl", "peft", "bitsandbytes", "accelerate", "datasets")}


def write_examples(folder: Path) -> dict[str, Path]:
    """`usual`: the first pairs of the corpus. `mixed`: three of its shorter half to one of its longest twentieth. `held_out`:
    the last ones, for whoever wants to evaluate."""
    pairs = [each for each in docstring_examples() if isinstance(each, Example)]
    by_length = sorted(pairs, key=lambda each: len(each.messages[-1].content))
    draw = random.Random(1)
    short, long = by_length[: len(pairs) // 2], by_length[-len(pairs) // 20 :]
    mixed = draw.sample(short, COUNT * 3 // 4) + draw.sample(long, COUNT // 4)
    draw.shuffle(mixed)
    written = {"usual": pairs[:COUNT], "mixed": mixed, "held_out": pairs[-HELD_OUT:]}
    return {name: _write(folder / f"{name}.jsonl", examples) for name, examples in written.items()}


def _write(path: Path, examples: list[Example]) -> Path:
    rows = (
        {"prompt": [each.to_dict() for each in example.messages[:-1]], "completion": [example.messages[-1].to_dict()]}
        for example in examples
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
