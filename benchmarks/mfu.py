"""Share of the machine's matrix-multiply peak that training reaches (MFU), for two models between 50 M and 150 M parameters.

Numerator: FLOP of forward and backward, causal convention (attention counted once per visible pair), no recomputation, no
optimizer. Denominator: the largest rate of square bf16 products, measured by the same process before its first step.
"""

from __future__ import annotations

from typing import Any

from benchmarks import ours
from benchmarks.common import median, save, scratch_home, table

STEPS = 8
COMMON = (f"train.steps={STEPS}", "train.seq_len=512", "train.compile=on", "eval.max_tokens=4096", "eval.sample_tokens=0",
          "tokenizer.vocab_size=8192", "checkpoint.every_steps=0")  # fmt: skip
MODELS = {
    "nanochat, depth 10 (width 640)": ("model.depth=10", "train.batch_tokens=8192"),
    "llama, 12 layers of 768": ("model.architecture=llama", "model.num_layers=12", "model.hidden_size=768",
                                "model.num_heads=12", "train.batch_tokens=8192"),
}  # fmt: skip


def main() -> None:
    """Train each for a few steps."""
    scratch_home()
    results: list[dict[str, Any]] = []
    rows = [["model", "parameters", "tokens/s", "GFLOP/s", "peak", "MFU"]]
    for name, shape in MODELS.items():
        trained = ours.train(*COMMON, *shape)
        start = trained.state.start
        assert start is not None
        peak = float(start.data["peak_flop_per_s"])
        rate = float(start.data["flop_per_token"]) * trained.tokens_per_s
        mfu = median([float(each) for each in trained.state.steps.column("mfu_frac")[2:]])
        results.append({"model": name, **trained.facts(), "flop_per_s": rate, "peak_flop_per_s": peak, "mfu_frac": mfu,
                        "convention": start.data["flop_convention"], "precision": start.data["precision"]})  # fmt: skip
        rows.append([name, f"{start.data['parameters']:,}", f"{trained.tokens_per_s:,.0f}", f"{rate / 1e9:.0f}",
                     f"{peak / 1e9:.0f}", f"{mfu:.0%}"])  # fmt: skip
        print(f"{name}: {mfu:.0%}", flush=True)
    table(rows)
    save("mfu", {"results": results})


if __name__ == "__main__":
    main()
