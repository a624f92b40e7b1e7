"""A tiny chat model in a folder, and examples for it: real architecture and template, random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.tuning import tokenizer_folder


def tiny_chat_model(folder: Path) -> Path:
    """Two layers of width 64, ChatML."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(tokenizer_folder("smollm2"), folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=768, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def conversations(path: Path, count: int = 24) -> Path:
    """JSON lines of one question and one answer each, of different lengths."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {number} and {number}?"},
                {"role": "assistant", "content": f"It is {2 * number}." + " Really." * (number % 4)},
            ]
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_config(path: Path, base: Path, data: Path, **changes: str) -> Path:
    """A configuration that fine-tunes the tiny model in seconds."""
    path.write_text(f"""
[run]
name = "tiny-sft"
stage = "sft"
threads = 1
[model]
base = "{base}"
[method]
kind = "{changes.get("method", "lora")}"
rank = 4
[[data.sources]]
path = "{data}"
[data]
validation_frac = 0.2
[train]
seq_len = 160
batch_sequences = 2
steps = 4
precision = "fp32"
[optim]
lr = 0.01
[eval]
sample_tokens = 4
""")
    return path
