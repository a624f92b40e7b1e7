"""Whether merging changes what was trained: logits in fp32 of the adapter beside its base, and of the merged model as it is
read back from the disk. Of QLoRA for both rules: onto the dequantised weights it learnt beside, and onto the original ones.

The figures are those of the export's own proof: greedy answers to its fixed prompts, compared token by token. Merging the other
way - into the 4-bit weights - is no rule of the export, and is measured here only to say why.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.common import save, scratch_home, table
from benchmarks.finetune_examples import versions

LIMIT = 1e-4
"""Largest difference of fp32 logits (themselves up to 40)."""
STEPS = 24
RUN = (
    "run.stage=sft", "model.base=smollm2-135m-instruct", 'data.sources=[{corpus = "python-docstrings", limit = 200}]',
    "train.seq_len=512", "train.batch_sequences=1", f"train.steps={STEPS}", "optim.lr=0.001", "eval.every_steps=0",
    "eval.sample_tokens=0",
)  # fmt: skip
COMPARED = ("max_logit_difference", "mean_kl_nats", "same_greedy_frac", "tokens")


def exported(checkpoint: Path, out: Path, onto: str) -> dict[str, Any]:
    """The export in fp32: what it found against the trained model."""
    from tuitrain.model.export import export

    facts = export(checkpoint, out, to="hf", dtype="fp32", onto=onto, say=lambda step: None)
    return {"rule": facts["rule"], **{key: facts["verified"][key] for key in COMPARED}}


def into_4_bits(checkpoint: Path) -> dict[str, Any]:
    """The adapter merged into the quantised weights, as peft does when it is asked to."""
    import torch

    from tuitrain.data.chat.encoder import ChatEncoder
    from tuitrain.model.adapters import attach
    from tuitrain.model.pretrained import LoadOptions, load_base
    from tuitrain.model.trained import base_of, load_trained
    from tuitrain.model.verify import answer, compare

    trained = answer(load_trained(checkpoint).lm, ChatEncoder(checkpoint))
    base, _ = base_of(checkpoint)
    lm = load_base(base, LoadOptions(dtype=torch.float32, quant="nf4"), torch.device("cpu")).eval()
    found = compare(trained, attach(lm, checkpoint).merge_and_unload(), "fp32").to_dict()
    return {"rule": "merged into the 4-bit weights", **{key: found[key] for key in COMPARED}}


def main() -> None:
    """Train both kinds, export, save."""
    folder = scratch_home()
    found: dict[str, Any] = {}
    for method in ("lora", "qlora"):
        checkpoint = ours.train(*RUN, f"method.kind={method}").run.model_dir()
        assert checkpoint is not None, "a finished run has a checkpoint"
        found[method] = exported(checkpoint, folder / method, "dequantised")
        if method == "qlora":
            found["qlora, onto the original"] = exported(checkpoint, folder / "original", "original")
            found["qlora, into 4 bits"] = into_4_bits(checkpoint)
    rows = [["", "largest logit difference", "nats per token", "same greedy tokens", "limit"]]
    for name, each in found.items():
        limit = f"{LIMIT:g}" if name in ("lora", "qlora") else "-"
        values = [f"{each['max_logit_difference']:.2e}", f"{each['mean_kl_nats']:.2e}", f"{each['same_greedy_frac']:.1%}"]
        rows.append([name, *values, limit])
    table(rows)
    save("finetune_merge", {"peers": versions(), "limit": LIMIT, "steps": STEPS, "merged": found})


if __name__ == "__main__":
    main()
