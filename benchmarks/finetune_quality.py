"""What QLoRA of SmolLM2-135M-Instruct on 200 examples gains, and what it saves beside full fine-tuning in bf16-mixed.

Held-out loss before and after, of a run as `tuitrain train` makes it. Resident bytes of the base, NF4 with an 8-bit embedding
against bf16: of the matrices in 4 bits, and of everything. Peaks of runs by both methods at the same batch: of the process (on
CUDA: of what is allocated), and above what the imports took. All of it beside the plan.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.common import save, scratch_home, table
from benchmarks.finetune_examples import COUNT, base_folder, versions

EPOCHS, STEP_TOKENS, LR, MEMORY_STEPS = 2, 512, 0.001, 6
LIMITS = {"loss_falls_by": 0.30, "weights_x_bf16": 0.35, "peak_x_full": 0.6}
BATCH = (
    "run.stage=sft", "model.base=smollm2-135m-instruct", "train.batch_sequences=1", "train.precision=bf16-mixed",
    f'data.sources=[{{corpus = "python-docstrings", limit = {COUNT}}}]', "eval.sample_tokens=0",
)  # fmt: skip
LEARN = (*BATCH, "method.kind=qlora", f"train.seq_len={STEP_TOKENS}", f"train.epochs={EPOCHS}", f"optim.lr={LR}")
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
    options = LoadOptions(dtype=torch.bfloat16, quant="nf4", compute=torch.bfloat16, quant_embedding=True)
    nf4, bf16 = (load_base(Path(base), each, device) for each in (options, LoadOptions(dtype=torch.bfloat16)))
    matrices = [(name, module) for name, module in nf4.named_modules() if type(module).__name__ == "Linear4bit"]
    plain = sum(bf16.get_submodule(name).weight.numel() * 2 for name, _ in matrices)
    small, whole = sum(quantised_bytes(module) for _, module in matrices), quantised_bytes(bf16)
    left = quantised_bytes(nf4)
    table_bytes = quantised_bytes(nf4.get_input_embeddings())
    return {
        "matrices": len(matrices), "matrices_nf4": small, "matrices_bf16": plain, "quantised_matrices_x_bf16": small / plain,
        "embedding": table_bytes, "all_nf4": left, "all_bf16": whole, "weights_x_bf16": left / whole,
    }  # fmt: skip


def run_memory(method: str, seq_len: int) -> dict[str, Any]:
    """The peak of a short run over everything, evaluation and saving included, beside its plan."""
    trained = ours.train(*BATCH, f"method.kind={method}", f"train.seq_len={seq_len}", f"train.steps={MEMORY_STEPS}")
    plan = json.loads((trained.run.path / "plan.json").read_text())
    assert trained.state.end is not None, "a finished run has an end"
    peak, planned = int(trained.state.end.data["peak_bytes"]), plan["run"]["peak_bytes"]
    return {
        "peak_bytes": peak, "planned_bytes": planned, "plan_error": planned / peak - 1,
        "planned_terms": plan["memory"]["terms"], "tokens_per_s": trained.tokens_per_s,
        "planned_tokens_per_s": plan["run"]["tokens_per_s"],
    }  # fmt: skip


def imported_bytes() -> int:
    """What a process holds on its device once everything is imported; on CUDA next to nothing."""
    code = (
        "import bitsandbytes, peft, torch, transformers.models.llama.modeling_llama\n"
        "from benchmarks.finetune_gate import memory\nprint(memory()['peak_bytes'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return int(done.stdout)


def peaks(seq_len: int, imported: int) -> dict[str, Any]:
    """Both methods at one sequence per step."""
    found: dict[str, Any] = {method: run_memory(method, seq_len) for method in ("full", "qlora")}
    for each in list(found.values()):
        each["above_imports_bytes"] = each["peak_bytes"] - imported
    return found | {f"{key}_x_full": found["qlora"][key] / found["full"][key] for key in ("peak_bytes", "above_imports_bytes")}


def main() -> None:
    """Measure, print, save."""
    scratch_home()
    kept, imported = weights(base_folder()), imported_bytes()
    measured = {str(length): peaks(length, imported) for length in (STEP_TOKENS, 1024)}
    learnt = learn()
    usual = measured[str(STEP_TOKENS)]
    terms = usual["qlora"]["planned_terms"]
    planned = terms["weights"] - 1.5 * terms["gradients"]  # less the adapter: 32 bits, and 16 while autocast holds a copy
    kept |= {"planned": planned, "plan_error": planned / kept["all_nf4"] - 1}
    shown = {
        "loss_falls_by": learnt["loss_falls_by"], "weights_x_bf16": kept["weights_x_bf16"],
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
    print(
        f"4-bit matrices alone: {kept['quantised_matrices_x_bf16']:.2f} x bf16; all weights planned {kept['plan_error']:+.1%}"
    )
    facts = {"learnt": learnt, "weights": kept, "imported_bytes": imported, "peaks": measured}
    save("finetune_quality", {"limits": LIMITS, "peers": versions(), **shown, **facts})


if __name__ == "__main__":
    main()
