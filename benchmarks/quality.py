"""Validation bits per byte after equal minutes on the embedded corpus: ours at its defaults against peers at their best.

Every side trains on the same split of the same files and is judged by the same function over the same validation bytes
(`peers.corpus.bits_per_byte`). Ours is judged as transformers loads it. What counts as time: for ours everything after the data
is there - probe, compilation, evaluations on the way; for the peers training steps alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from benchmarks import ours
from benchmarks.common import save, scratch_home, table

MINUTES = 5.0
NANOGPT_RATES = ("1e-3", "2e-3", "4e-3")
TRAINER_RATES = ("1e-3", "2e-3", "4e-3")


def peer(name: str, *options: str, minutes: float) -> dict[str, Any]:
    """One process of a peer, the last line of which is its result."""
    command = [sys.executable, "-m", f"benchmarks.peers.{name}", "--minutes", str(minutes), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def mine(minutes: float) -> dict[str, Any]:
    """`tuitrain train train.minutes=N`, nothing else said; judged through AutoModelForCausalLM."""
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks.peers.corpus import bits_per_byte, prepared

    trained = ours.train(f"train.minutes={minutes:g}")
    folder = trained.run.model_dir()
    assert folder is not None
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def loss_sum(inputs: torch.Tensor, targets: torch.Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(
            model(inputs).logits.flatten(0, 1), targets.flatten(), reduction="sum"))  # fmt: skip

    data = prepared(int(trained.config["tokenizer"]["vocab_size"]))
    judged = bits_per_byte(loss_sum, data, int(trained.config["train"]["seq_len"]))
    own = trained.state.evals.last("bits_per_byte")
    return {**trained.facts(), "bits_per_byte": judged, "bits_per_byte_of_the_trainer": own, "config": trained.config}


def main() -> None:
    """Ours first, then every peer at every rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    minutes = parser.parse_known_args()[0].minutes
    scratch_home()
    sides: dict[str, dict[str, Any]] = {"ours, defaults": mine(minutes)}
    print(f"ours: {sides['ours, defaults']['bits_per_byte']:.4f}", flush=True)
    sides["sketch"] = peer("sketch", minutes=minutes)
    for name, rates in (("nanogpt", NANOGPT_RATES), ("hf_trainer", TRAINER_RATES)):
        for rate in rates:
            more = ("--best", "--rows", "16") if name == "hf_trainer" else ()
            sides[f"{name} {rate}"] = peer(name, "--lr", rate, *more, minutes=minutes)
            print(f"{name} {rate}: {sides[f'{name} {rate}']['bits_per_byte']:.4f}", flush=True)
    best = {name: min(side["bits_per_byte"] for key, side in sides.items() if key.startswith(name)) for name in
            ("ours", "sketch", "nanogpt", "hf_trainer")}  # fmt: skip
    rows = [["side", "bits/byte", "steps", "tokens", "tokens/s", "parameters"]]
    for name, side in sides.items():
        counts = (f"{side[key]:,.0f}" for key in ("steps", "tokens", "tokens_per_s", "parameters"))
        rows.append([name, f"{side['bits_per_byte']:.4f}", *counts])
    table(rows)
    print(f"ours / best nanoGPT = {best['ours'] / best['nanogpt']:.3f}, ours - sketch = {best['ours'] - best['sketch']:+.3f}")
    save("quality", {"minutes": minutes, "best": best, "sides": sides})


if __name__ == "__main__":
    main()
