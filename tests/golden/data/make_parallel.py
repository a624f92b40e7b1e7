"""Write parallel.csv: the trainer's step as one rank of many sees it, over models, ranks, ZeRO stages, recompute, micro-batch.

    python tests/golden/data/make_parallel.py [MODEL ...]

A quarter of an hour on two cores. bf16-mixed, a GPU's kernels, chunked loss head. Beside the grid: accumulation, groups that
share states (HSDP) and Muon, of the small model on 8 ranks. `sent_...` is what the rank sends in a step, by kind of collective.
"""

from __future__ import annotations

import csv
import itertools
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tuitrain_planners import find_shape

FILE = Path(__file__).parent / "parallel.csv"
PRESETS = Path(__file__).parents[3] / "presets" / "models"
SEQ_LEN = {"smollm2-135m": 2048, "llama-3-8b": 8192}
PHASES = ("forward", "loss", "backward_start", "backward_middle", "backward_end", "backward_embedding", "optimizer")
KINDS = ("all_gather", "reduce_scatter", "all_reduce", "all_to_all")


@dataclass(frozen=True, kw_only=True)
class Cell:
    model: str
    seq_len: int
    ranks: int
    zero: int
    recompute: str = "none"
    micro_batch: int = 1
    grad_accum: int = 1
    shard_group: str = ""
    """Empty: all ranks share states."""
    moved_by: str = "adamw"


def cells(model: str) -> list[Cell]:
    """The grid, and of the small model what else a layout can be."""

    def one(**fields: object) -> Cell:
        return Cell(model=model, seq_len=SEQ_LEN[model], **fields)  # type: ignore[arg-type]

    grid = [
        one(ranks=ranks, zero=zero, recompute=recompute, micro_batch=micro_batch)
        for ranks, zero, recompute, micro_batch in itertools.product((8, 2, 64), range(4), ("none", "full"), (1, 4))
    ]
    if model != "smollm2-135m":
        return grid
    return [
        *grid,
        *(one(ranks=8, zero=zero, grad_accum=accum) for zero in range(4) for accum in (2, 3)),
        *(one(ranks=8, zero=zero, shard_group="4") for zero in range(4)),
        *(one(ranks=8, zero=zero, moved_by="muon") for zero in range(4)),
    ]


def traced(cell: Cell) -> dict[str, object]:
    """{"peak_bytes", "peak_phase", bytes of each phase, "sent_KIND" of each kind}."""
    from tuitrain.cli.plan_simulate import shape_fields
    from tuitrain.trainer.simulate import Request, simulate

    found = simulate(
        Request(
            shape=shape_fields(find_shape(PRESETS, cell.model)), seq_len=cell.seq_len, micro_batch=cell.micro_batch,
            grad_accum=cell.grad_accum, recompute=cell.recompute, optimizer=cell.moved_by, ranks=cell.ranks, zero=cell.zero,
            shard_group=int(cell.shard_group) if cell.shard_group else None,
        )
    )  # fmt: skip
    phases = {each["name"]: each["bytes"] for each in found["phases"]}
    sent = {each["kind"]: round(each["sent_bytes"]) for each in found["communication"]}
    return {
        "peak_bytes": found["peak_bytes"], "peak_phase": found["peak_phase"], **{name: phases[name] for name in PHASES},
        **{f"sent_{kind}": sent.get(kind, 0) for kind in KINDS},
    }  # fmt: skip


def main() -> None:
    import torch

    with FILE.open("w", newline="") as file:
        file.write(f"# torch {torch.__version__}; bytes alive on one rank, bytes it sends in a step; bf16-mixed\n")
        writer = None
        for cell in itertools.chain.from_iterable(cells(model) for model in sys.argv[1:] or SEQ_LEN):
            row = {**asdict(cell), **traced(cell)}
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
