"""Training throughput of one 13 M parameter Llama at sequence 512: ours against transformers' Trainer, both in this run.

Same shape, same vocabulary, same tokens per step. Trainer at its defaults (fp32, eager, AdamW) and at its best here (bf16,
compiled); ours at its defaults (Muon) and with Trainer's optimizer (AdamW). Rounds alternate the sides, so that a machine that
slows down slows all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks import ours
from benchmarks.common import median, save, scratch_home, table

LAYERS, WIDTH, HEADS, FFN, VOCAB, SEQ_LEN, ROWS = 4, 384, 6, 1024, 8192, 512, 8
ROUNDS, OUR_STEPS, PEER_STEPS = 2, 100, 24
SHAPE = (
    "model.architecture=llama", f"model.num_layers={LAYERS}", f"model.hidden_size={WIDTH}", f"model.num_heads={HEADS}",
    f"model.ffn_size={FFN}", "model.tie_embeddings=false", f"tokenizer.vocab_size={VOCAB}", f"train.seq_len={SEQ_LEN}",
    f"train.batch_tokens={ROWS * SEQ_LEN}", f"train.steps={OUR_STEPS}", "eval.max_tokens=4096", "eval.sample_tokens=0",
)  # fmt: skip


def peer(*options: str) -> dict[str, Any]:
    """One process of transformers' Trainer."""
    shape = ("--layers", LAYERS, "--width", WIDTH, "--heads", HEADS, "--ffn", FFN, "--vocab", VOCAB,
             "--seq-len", SEQ_LEN, "--rows", ROWS, "--steps", PEER_STEPS)  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.peers.hf_trainer", *map(str, shape), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def mine(*overrides: str) -> dict[str, Any]:
    """One run of ours."""
    trained = ours.train(*SHAPE, *overrides)
    train = trained.config["train"]
    facts = {key: train[key] for key in ("precision", "compile", "attention", "loss", "micro_batch")}
    return {**trained.facts(), **facts, "optimizer": trained.config["optim"]["kind"]}


SIDES = {
    "Trainer, defaults": peer,
    "Trainer, bf16 + compiled": lambda: peer("--best"),
    "ours, defaults": mine,
    "ours, AdamW": lambda: mine("optim.kind=adamw"),
}


def main() -> None:
    """Alternate, compare, save."""
    scratch_home()
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    for _ in range(ROUNDS):
        for name, side in SIDES.items():
            measured[name].append(side())
            print(f"{name}: {measured[name][-1]['tokens_per_s']:,.0f} tokens/s", flush=True)
    speed = {name: median([each["tokens_per_s"] for each in rounds]) for name, rounds in measured.items()}
    plain, best = speed["Trainer, defaults"], speed["Trainer, bf16 + compiled"]
    rows = [["side", "parameters", "tokens/s", "x Trainer's defaults", "x Trainer's best"]]
    rows += [[name, f"{measured[name][0]['parameters']:,}", f"{each:,.0f}", f"{each / plain:.2f}", f"{each / best:.2f}"]
             for name, each in speed.items()]  # fmt: skip
    table(rows)
    save("train_speed", {"tokens_per_step": ROWS * SEQ_LEN, "seq_len": SEQ_LEN, "tokens_per_s": speed, "rounds": measured})


if __name__ == "__main__":
    main()
