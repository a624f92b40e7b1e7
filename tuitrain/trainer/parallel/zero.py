"""ZeRO-2 and 3 by FSDP2: a model's weights, gradients and moments cut over the ranks, one unit gathered at a time.

Rajbhandari et al. 2019, arXiv:1910.02054, section 5; Zhao et al. 2023, arXiv:2304.11277, for units and prefetching. What is
gathered together (the units of `tuitrain_planners.memory.sharding`):

    each layer        before its forward and, when it was given back after it (ZeRO-3), again before its backward
    the loss head     around the loss
    the embedding     around the lookup
    the root          the last norm; with tied embeddings the one table too, which both ends of the step need

ZeRO-2 keeps what it gathered until the step's last backward, through all its micro-batches. Gradients are reduced in every
micro-batch, so that no rank ever holds all of them. FSDP2 averages over the ranks, as data parallelism does, see `step`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from tuitrain.trainer.parallel.units import units_of
from tuitrain.trainer.precision import Recipe


def shard_model(loss: nn.Module, mesh: DeviceMesh, recipe: Recipe, *, reshard: bool = True, offload: bool = False) -> nn.Module:
    """Cut `loss` in place over the axes of `mesh` (one: shards; two: groups of shards); make the optimizer afterwards.

    Weights stay as `recipe` keeps them and are gathered in its compute dtype; gradients are summed in fp32. `reshard=False`
    keeps gathered weights from forward to backward (ZeRO-2). `offload`: what is at rest lies in the host's memory.
    """
    policy = MixedPrecisionPolicy(param_dtype=recipe.compute, reduce_dtype=torch.float32)
    host: OffloadPolicy = CPUOffloadPolicy(pin_memory=torch.cuda.is_available()) if offload else OffloadPolicy()
    units = units_of(loss)
    for unit in (*units.layers, *units.ends):
        fully_shard(unit, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard, offload_policy=host)
    # The head's weight is reached twice, by its own unit and through the model: the root must leave it alone.
    taken = set() if units.head is None else set(units.head.parameters())
    fully_shard(loss, mesh=mesh, mp_policy=policy, offload_policy=host, ignored_params=taken)
    loss.keeps_gathered = not reshard  # type: ignore[assignment]
    return loss


def give_back(module: nn.Module) -> None:
    """Cut weights lie cut again. A forward pass without a backward leaves gathered what ZeRO-2 keeps, and the root always:
    whoever writes weights, or saves them, must find the parts."""
    for each in module.modules():
        if isinstance(each, FSDPModule):
            each.reshard()


@contextmanager
def ends_gathered(loss: nn.Module) -> Iterator[None]:
    """Around calls that do not go through the loss's forward: root and head are whole, layers gather themselves. All ranks must
    make the same calls."""
    parts = [loss, *(each for each in units_of(loss).ends if isinstance(each, FSDPModule))]
    for each in parts:
        each.unshard()  # type: ignore[operator]
    try:
        yield
    finally:
        give_back(loss)
