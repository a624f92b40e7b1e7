"""transformers' Trainer with LlamaForCausalLM: its defaults, or its best on this machine (bf16, compiled).

python -m benchmarks.peers.hf_trainer --minutes 5 --lr 1e-3 [--best]        quality: cosine over the minutes
python -m benchmarks.peers.hf_trainer --steps 40 [--best] ...               speed: tokens/s of the last steps
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time

import numpy as np
import torch
from torch.utils.data import Dataset

from benchmarks.peers.corpus import bits_per_byte, prepared, stream


class Windows(Dataset):
    """Consecutive windows of the training stream; the Trainer shuffles them."""

    def __init__(self, tokens: np.ndarray, seq_len: int) -> None:
        count = len(tokens) // seq_len
        self.rows = torch.from_numpy(tokens[: count * seq_len].reshape(count, seq_len))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


def main() -> None:
    """Train, judge or time, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--best", action="store_true")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--ffn", type=int, default=704)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--rows", type=int, default=8)
    options = parser.parse_args()
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed

    set_seed(1337)
    data = prepared(options.vocab)
    dataset = Windows(stream(data, "train"), options.seq_len)

    def make_model() -> LlamaForCausalLM:
        return LlamaForCausalLM(LlamaConfig(
            vocab_size=options.vocab, hidden_size=options.width, intermediate_size=options.ffn,
            num_hidden_layers=options.layers, num_attention_heads=options.heads, num_key_value_heads=options.heads,
            max_position_embeddings=options.seq_len, tie_word_embeddings=False, use_cache=False,
        ))  # fmt: skip

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *arguments, **keywords) -> None:
            self.ends.append(time.perf_counter())

    def train(model: LlamaForCausalLM, steps: int) -> list[float]:
        clock = Clock()
        extra = {"bf16": True, "torch_compile": True} if options.best else {}
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder, max_steps=steps, per_device_train_batch_size=options.rows, learning_rate=options.lr,
                use_cpu=True, lr_scheduler_type="cosine", warmup_steps=min(100, steps // 10), weight_decay=0.1,
                adam_beta2=0.95, save_strategy="no", report_to=[], disable_tqdm=True, logging_strategy="no", **extra,
            )  # fmt: skip
            Trainer(model=model, args=arguments, train_dataset=dataset, callbacks=[clock]).train()
        return clock.ends

    model = make_model()
    if options.minutes:
        paces = np.diff(train(make_model(), 8))[-4:]
        steps = max(1, int(options.minutes * 60 / np.median(paces)))
    else:
        steps = options.steps
    begin = time.perf_counter()
    ends = train(model, steps)
    train_s = time.perf_counter() - begin
    pace_s = float(np.median(np.diff(ends)[len(ends) // 3 :]))
    result = {
        "lr": options.lr, "steps": steps, "tokens": steps * options.rows * options.seq_len, "train_s": train_s,
        "step_s": pace_s, "tokens_per_s": options.rows * options.seq_len / pace_s, "parameters": model.num_parameters(),
        "best": options.best,
    }  # fmt: skip
    if options.minutes:
        model.eval()

        def loss_sum(inputs: torch.Tensor, targets: torch.Tensor) -> float:
            logits = model(inputs).logits.float()
            return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"))

        result["bits_per_byte"] = bits_per_byte(loss_sum, data, options.seq_len)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
