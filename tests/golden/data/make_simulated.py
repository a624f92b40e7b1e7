"""Write simulated.csv: the trainer's step on fake tensors, over models, devices, recompute, micro-batch, loss head, optimizer.

    python tests/golden/data/make_simulated.py [MODEL ...]

Half an hour on two cores. bf16-mixed, one micro-batch per step, a GPU's kernels; devices above 1: ZeRO-3.
"""

from __future__ import annotations

import csv
import itertools
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tuitrain_planners import ModelShape, by_depth, find_shape

FILE = Path(__file__).parent / "simulated.csv"
PRESETS = Path(__file__).parents[3] / "presets" / "models"
SEQ_LEN = {"smollm2-135m": 2048, "llama-3-8b": 8192, "qwen3-0.6b": 4096, "nanochat-d4": 2048}
SHARDED = ("smollm2-135m", "llama-3-8b")
NANOCHAT_VOCAB = 65_536
PHASES = ("forward", "loss", "backward_start", "backward_middle", "backward_end", "backward_embedding", "optimizer")


@dataclass(frozen=True, kw_only=True)
class Cell:
    model: str
    seq_len: int
    devices: int
    recompute: str
    micro_batch: int
    loss_head: str
    moved_by: str = "adamw"


def shape_of(model: str) -> ModelShape:
    """A preset, or nanochat's by its depth."""
    family, _, depth = model.partition("-d")
    return by_depth(int(depth), NANOCHAT_VOCAB, family) if family == "nanochat" else find_shape(PRESETS, model)


def cells(models: list[str]) -> list[Cell]:
    """Every choice with AdamW, on one device and - two models - on more; SmolLM2 and nanochat with Muon on one."""
    by_adamw = [
        Cell(model=model, seq_len=SEQ_LEN[model], devices=devices, recompute=recompute, micro_batch=micro_batch, loss_head=loss)
        for model in models
        for devices, recompute, micro_batch, loss in itertools.product(
            (1, 2, 8, 64) if model in SHARDED else (1,), ("none", "full"), (1, 4), ("chunked", "plain")
        )
    ]
    return by_adamw + [
        replace(cell, moved_by="muon")
        for cell in by_adamw
        if cell.model in ("smollm2-135m", "nanochat-d4") and cell.devices == 1 and cell.loss_head == "chunked"
    ]


def traced(cell: Cell) -> dict[str, object]:
    """{"peak_bytes", "peak_phase", and the bytes of each phase}."""
    from tuitrain.cli.plan_simulate import shape_fields
    from tuitrain.trainer.simulate import Request, simulate

    found = simulate(
        Request(
            shape=shape_fields(shape_of(cell.model)),
            seq_len=cell.seq_len,
            micro_batch=cell.micro_batch,
            recompute=cell.recompute,
            loss=cell.loss_head,
            ranks=cell.devices,
            zero=3,
            optimizer=cell.moved_by,
        )
    )
    phases = {each["name"]: each["bytes"] for each in found["phases"]}
    return {"peak_bytes": found["peak_bytes"], "peak_phase": found["peak_phase"], **{name: phases[name] for name in PHASES}}


def main() -> None:
    import torch

    with FILE.open("w", newline="") as file:
        file.write(f"# torch {torch.__version__}; bytes alive on one device; bf16-mixed; devices above 1: ZeRO-3\n")
        writer = None
        for cell in cells(sys.argv[1:] or list(SEQ_LEN)):
            row = {**asdict(cell), **traced(cell)}
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
