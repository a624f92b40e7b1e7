"""What QLoRA of SmolLM2-135M-Instruct on 200 examples gains, and what it saves beside full fine-tuning in bf16-mixed.

Held-out loss before and after, of a run as `tuitrain train` makes it. Resident bytes of the base, NF4 against bf16: of the
matrices that are quantised, and of everything - embedding and head stay as they are, and are a fifth of this model. Peaks of
both methods at the same batch, during the steps: above what the imports had taken, and of the whole process. All of it beside
the plan.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.common import save, scratch_home, table
from benchmarks.finetune_examples import COUNT, base_folder, write_examples
from benchmarks.finetune_gate import Side, take_turns

EPOCHS, STEP_TOKENS, LR, MEMORY_STEPS = 2, 512, 0.001, 3
LIMITS = {"loss_falls_by": 0.30, "quantised_matrices_x_bf16": 0.35, "peak_x_full": 0.6}
LEARN = (
    "run.stage=sft", "model.base=smollm2-135m-instruct", "method.kind=qlora", f"train.seq_len={STEP_TOKENS}",
    f'data.sources=[{{corpus = "python-docstrings", limit = {COUNT}}}]', "train.batch_sequences=1", f"optim.lr={LR}",
    f"train.epochs={EPOCHS}", "eval.sample_tokens=0",
)  # fmt: skip
MIB = 2**20


def learn() -> dict[str, Any]:
    """The run: loss on the held-out examples before the first step and after the last."""
    trained = ours.train(*LEARN)
    losses = [float(each) for each in trained.state.evals.column("loss")]
    return {"loss_before": losses[0], "loss_after": losses[-1], "loss_falls_by": 1 - losses[-1] / losses[0], "evals": losses,
            "lowest": min(losses), **trained.facts()}  # fmt: skip


def weights(base: str) -> dict[str, Any]:
    """Bytes of the base as it lies in memory, scales of quantised matrices included."""
    import torch

    from tuitrain.model.pretrained import LoadOptions, load_base
    from tuitrain.model.quantise import quantised_bytes

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options = LoadOptions(dtype=torch.bfloat16, quant="nf4", compute=torch.bfloat16)
    nf4, bf16 = (load_base(Path(base), each, device) for each in (options, LoadOptions(dtype=torch.bfloat16)))
    matrices = [(name, module) for name, module in nf4.named_modules() if type(module).__name__ == "Linear4bit"]
    plain = sum(bf16.get_submodule(name).weight.numel() * 2 for name, _ in matrices)
    small, whole = sum(quantised_bytes(module) for _, module in matrices), quantised_bytes(bf16)
    left = quantised_bytes(nf4)
    table_bytes = quantised_bytes(nf4.get_input_embeddings())
    return {
        "matrices": len(matrices), "matrices_nf4": small, "matrices_bf16": plain, "quantised_matrices_x_bf16": small / plain,
        "embedding": table_bytes, "all_nf4": left, "all_bf16": whole, "all_x_bf16": left / whole,
    }  # fmt: skip


def peaks(base: str, folder: Path, seq_len: int) -> dict[str, Any]:
    """Both methods at one sequence per step, in turn."""
    asked = {
        "base": base, "threads": len(os.sched_getaffinity(0)), "seq_len": seq_len, "rows": 1, "micro_batch": 1,
        "examples": str(folder / "usual.jsonl"), "held_out": str(folder / "held_out.jsonl"),
    }  # fmt: skip
    sides = {
        method: Side("benchmarks.finetune_ours", asked | {"method": method}, folder / "log") for method in ("full", "qlora")
    }
    found: dict[str, Any] = {}
    for method, facts in take_turns(sides, steps=MEMORY_STEPS).items():
        start, planned = facts["at_start"], facts["at_start"]["planned"]
        found[method] = {
            "peak_bytes": facts["peak_bytes"], "imported_bytes": start["imported_bytes"],
            "above_imports_bytes": facts["peak_bytes"] - start["imported_bytes"],
            "planned_bytes": planned["peak_bytes"], "plan_error": planned["peak_bytes"] / facts["peak_bytes"] - 1,
            "tokens_per_s": facts["tokens_per_s"], "planned_tokens_per_s": planned["tokens_per_s"],
            "planned_terms": planned["terms"],
        }  # fmt: skip
    for key in ("peak_bytes", "above_imports_bytes"):
        found[f"{key}_x_full"] = found["qlora"][key] / found["full"][key]
    return found


def main() -> None:
    """Measure, print, save."""
    folder = scratch_home()
    base = base_folder()
    write_examples(folder)
    kept, measured = weights(base), {str(length): peaks(base, folder, length) for length in (STEP_TOKENS, 1024)}
    learnt = learn()
    usual = measured[str(STEP_TOKENS)]
    planned = usual["qlora"]["planned_terms"]["weights"]
    kept |= {"planned": planned, "plan_error": planned / kept["all_nf4"] - 1}
    shown = {
        "loss_falls_by": learnt["loss_falls_by"], "quantised_matrices_x_bf16": kept["quantised_matrices_x_bf16"],
        "peak_x_full": usual["peak_bytes_x_full"],
    }  # fmt: skip
    table([["", "measured", "limit"], *([name, f"{each:.3f}", f"{LIMITS[name]}"] for name, each in shown.items())])
    rows = [["tokens", "method", "peak MiB", "above imports", "planned", "error", "tokens/s", "planned"]]
    for length, sides in measured.items():
        for method in ("full", "qlora"):
            each = sides[method]
            mib = [f"{each[key] / MIB:,.0f}" for key in ("peak_bytes", "above_imports_bytes", "planned_bytes")]
            speed = [f"{each[key]:,.0f}" for key in ("tokens_per_s", "planned_tokens_per_s")]
            rows.append([length, method, *mib, f"{each['plan_error']:+.0%}", *speed])
    table(rows)
    print(f"all weights, embedding included: {kept['all_x_bf16']:.2f} x bf16; planned {kept['plan_error']:+.1%}")
    save("finetune_quality", {"limits": LIMITS, **shown, "learnt": learnt, "weights": kept, "peaks": measured})


if __name__ == "__main__":
    main()
