"""Fine-tuning throughput of SmolLM2-135M-Instruct: ours against TRL's SFTTrainer, in tokens that are no padding.

Same examples, answers alone trained, same tokens per step, bf16 autocast, fused AdamW, same threads. First both packed, one
sequence per step; then ours packed against TRL padded. The sides take turns step by step, see finetune_gate. CPU seconds are
told beside the clock's: neighbours on the machine disturb them less.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.common import save, scratch_home, table
from benchmarks.finetune_examples import base_folder, versions, write_examples
from benchmarks.finetune_gate import Side, take_turns

SEQ_LEN, STEPS, PADDED_ROWS = 1024, 8, 8
LIMITS = {"packed": 1.0, "padded": 2.0}
"""Least tokens/s, as multiples of TRL's."""
COMPARISONS = {
    "full": {"method": "full"},
    "LoRA": {"method": "lora"},
    "QLoRA": {"method": "qlora"},
    "LoRA, TRL padded": {"method": "lora", "padded": True},
    "LoRA, TRL padded, short and long": {"method": "lora", "padded": True, "examples": "mixed"},
}
MIB = 2**20


def compare(asked: dict[str, Any], *, examples: str = "usual", padded: bool = False) -> dict[str, dict[str, Any]]:
    """Both sides, from their start to their figures."""
    folder = asked.pop("folder")
    asked |= {"examples": str(folder / f"{examples}.jsonl"), "held_out": str(folder / "held_out.jsonl"), "packing": True}
    rows = PADDED_ROWS if padded else 1
    theirs = asked | {"rows": rows, "micro_batch": rows, "packing": not padded}
    return take_turns({
        "TRL": Side("benchmarks.peers.trl_sft", theirs, folder / "trl.log"),
        "ours": Side("benchmarks.finetune_ours", asked, folder / "ours.log"),
    }, steps=STEPS)  # fmt: skip


def main() -> None:
    """Compare, print, save."""
    folder = scratch_home()
    write_examples(folder)
    asked = {"base": base_folder(), "threads": len(os.sched_getaffinity(0)), "seq_len": SEQ_LEN, "rows": 1, "micro_batch": 1}
    measured: dict[str, Any] = {}
    rows = [["", "TRL tokens/s", "ours", "x", "by CPU time", "limit", "TRL peak MiB", "ours"]]
    for name, wanted in COMPARISONS.items():
        options = {key: value for key, value in wanted.items() if key != "method"}
        sides = compare(asked | {"folder": folder, "method": wanted["method"]}, **options)
        trl, ours = sides["TRL"], sides["ours"]
        limit = LIMITS["padded" if "padded" in wanted else "packed"]
        measured[name] = {
            "x_tokens_per_s": ours["tokens_per_s"] / trl["tokens_per_s"],
            "x_tokens_per_cpu_s": ours["tokens_per_cpu_s"] / trl["tokens_per_cpu_s"],
            "x_peak_bytes": ours["peak_bytes"] / trl["peak_bytes"], "limit": limit, **sides,
        }  # fmt: skip
        faster = [f"{measured[name][key]:.2f}" for key in ("x_tokens_per_s", "x_tokens_per_cpu_s")]
        rows.append([name, f"{trl['tokens_per_s']:.0f}", f"{ours['tokens_per_s']:.0f}", *faster, f"{limit}",
                     *(f"{each['peak_bytes'] / MIB:,.0f}" for each in (trl, ours))])  # fmt: skip
        print(f"{name}: {faster[0]} x TRL ({faster[1]} by CPU time)", flush=True)
    table(rows)
    setting = {"seq_len": SEQ_LEN, "sequences_per_step": 1, "padded_rows": PADDED_ROWS, "threads": asked["threads"]}
    save("finetune_speed", {"model": "SmolLM2-135M-Instruct", "peers": versions(), **setting, "comparisons": measured})


if __name__ == "__main__":
    main()
