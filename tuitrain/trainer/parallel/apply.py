"""From `[parallel]` to a module that trains over the processes, whatever it is that is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from tuitrain.config.schema import ParallelSection
from tuitrain.trainer.parallel.ddp import replicate
from tuitrain.trainer.parallel.mesh import SHARD, data_mesh
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.parallel.zero import ends_gathered, shard_model
from tuitrain.trainer.parallel.zero1 import OwnedRows
from tuitrain.trainer.precision import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """A loss module spread over the processes."""

    module: nn.Module
    """What a training step calls: the loss itself, or DDP around it."""
    loss: nn.Module
    owned: OwnedRows | None = None
    """ZeRO-1: what this process moves of the model it holds whole."""

    @property
    def cuts_weights(self) -> bool:
        """Whether a forward pass needs all processes: then none may make one that the others do not make."""
        return isinstance(self.loss, FSDPModule)

    def whole_ends(self) -> AbstractContextManager[None]:
        """Around generation, which calls parts of the model past the loss's forward."""
        return ends_gathered(self.loss) if self.cuts_weights else contextlib.nullcontext()


def parallelise(loss: nn.Module, model: nn.Module, section: ParallelSection, world: World, recipe: Recipe) -> Parallel:
    """Apply a ZeRO stage to `loss`, in place where it cuts weights. `model` is the part whose parameters are trained. A lone
    process has nothing to share, whatever the stage."""
    if world.size == 1:
        return Parallel(module=loss, loss=loss)
    if section.zero >= 2:
        mesh = data_mesh(world, section.shard_group)
        sharded = shard_model(loss, mesh, recipe, reshard=section.zero == 3 and section.reshard, offload=section.offload)
        return Parallel(module=sharded, loss=sharded)
    module = replicate(loss, world)
    if section.zero == 0:
        return Parallel(module=module, loss=loss)
    return Parallel(module=module, loss=loss, owned=OwnedRows(model, data_mesh(world, section.shard_group)[SHARD]))


@contextlib.contextmanager
def accumulating(module: nn.Module, *, last: bool) -> Iterator[None]:
    """Around one micro-batch. DDP sends gradients in the last one only; ZeRO-2 gives gathered weights back after it only."""
    if isinstance(module, DistributedDataParallel) and not last:
        with module.no_sync():
            yield
        return
    if isinstance(module, FSDPModule) and bool(getattr(module, "keeps_gathered", False)):
        module.set_reshard_after_backward(last)
    yield
