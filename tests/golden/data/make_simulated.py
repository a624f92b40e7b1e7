"""Write simulated.csv: the trainer's step of two models on fake tensors, over devices, recompute, micro-batch and loss head.

    python tests/golden/data/make_simulated.py [MODEL ...]

Twenty minutes on two cores. bf16-mixed, AdamW, one micro-batch per step, a GPU's kernels; devices above 1: ZeRO-3.
"""

from __future__ import annotations

import csv
import itertools
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).parent / "simulated.csv"
PRESETS = Path(__file__).parents[3] / "presets" / "models"
SEQ_LEN = {"smollm2-135m": 2048, "llama-3-8b": 8192}
PHASES = ("forward", "loss", "backward_start", "backward_middle", "backward_end", "backward_embedding", "optimizer")


@dataclass(frozen=True, kw_only=True)
class Cell:
    model: str
    seq_len: int
    devices: int
    recompute: str
    micro_batch: int
    loss_head: str


def cells(models: list[str]) -> list[Cell]:
    return [
        Cell(model=model, seq_len=SEQ_LEN[model], devices=devices, recompute=recompute, micro_batch=micro_batch, loss_head=loss)
        for model, devices, recompute, micro_batch, loss in itertools.product(
            models, (1, 2, 8, 64), ("none", "full"), (1, 4), ("chunked", "plain")
        )
    ]


def traced(cell: Cell) -> dict[str, object]:
    """{"peak_bytes", "peak_phase", and the bytes of each phase}."""
    from tuitrain.cli.plan_simulate import shape_fields
    from tuitrain.trainer.simulate import Request, simulate
    from tuitrain_planners import find_shape

    found = simulate(
        Request(
            shape=shape_fields(find_shape(PRESETS, cell.model)),
            seq_len=cell.seq_len,
            micro_batch=cell.micro_batch,
            recompute=cell.recompute,
            loss=cell.loss_head,
            ranks=cell.devices,
        )
    )
    phases = {each["name"]: each["bytes"] for each in found["phases"]}
    return {"peak_bytes": found["peak_bytes"], "peak_phase": found["peak_phase"], **{name: phases[name] for name in PHASES}}


def main() -> None:
    import torch

    with FILE.open("w", newline="") as file:
        file.write(f"# torch {torch.__version__}; bytes alive on one device; bf16-mixed, AdamW; devices above 1: ZeRO-3\n")
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
