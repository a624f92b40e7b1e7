"""Run by torchrun from test_parallel_grid and test_resharding: trains the cases of a JSON file and writes what rank 0 found."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from support.grid import Case, and_leave, make_base, train

from tuitrain.trainer.checkpoint import Checkpoints
from tuitrain.trainer.parallel import init_world


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    cases = json.loads((folder / "cases.json").read_text())
    for raw in cases:
        make_base(Case(**{key: value for key, value in raw.items() if key not in ("store", "save_at", "load_at")}))
    world = init_world("cpu")
    for index, raw in enumerate(cases):
        where, save_at, load_at = (
            raw.pop(name, default) for name, default in (("store", None), ("save_at", None), ("load_at", 0))
        )
        store = None if where is None else Checkpoints(Path(where), keep_last=9, keep_best=False)
        found = train(Case(**raw), world, store=store, save_at=save_at, load_at=load_at)
        assert len({tuple(each) for each in world.gather(found["loss"])}) == 1, "all ranks know the same loss"
        if world.is_main:
            torch.save(found, folder / f"{index}.pt")
    world.barrier()
    world.close()


if __name__ == "__main__":
    and_leave(main)
