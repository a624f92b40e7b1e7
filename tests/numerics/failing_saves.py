"""Run by torchrun from test_resharding: saves of two processes of which one may not write, then one that goes well."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.grid import Case, and_leave, build, weights_of

from tuitrain.trainer.checkpoint import Checkpoints
from tuitrain.trainer.parallel import init_world


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """As on a full disk, a write beyond it is an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def main(folder: Path) -> None:
    world = init_world("cpu")
    case = Case(zero=3)
    _, model, optimizers = build(case, world)
    store = Checkpoints(folder, keep_last=9, keep_best=False)

    def save(step: int) -> None:
        store.save(step, weights_of(case, model), optimizers, {}, [{}], best_step=None, side=world.side)

    save(1)
    # Of rank 0 the weights are cut short, of rank 1 its part of the optimizer's states: both must hear of either.
    for step, guilty, size in ((2, 0, 4096), (3, 1, 4096)):
        with files_at_most(size if world.rank == guilty else resource.RLIM_INFINITY):
            try:
                save(step)
            except Exception as error:  # of the disk, or of the library that met it
                print(f"rank {world.rank}: {type(error).__name__}: {error}", flush=True)
            else:
                raise AssertionError(f"rank {world.rank} does not know that step {step} failed")
    save(4)
    world.barrier()
    if world.is_main:
        assert store.steps() == [1, 4], store.steps()
        assert not [each for each in folder.iterdir() if each.name.startswith(".staging")]
        assert store.newest_good(lambda *problem: None) == 4
    world.close()


if __name__ == "__main__":
    and_leave(main)
