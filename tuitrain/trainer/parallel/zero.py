"""ZeRO-3 by FSDP2: a model's weights, gradients and moments cut over the ranks, one unit gathered at a time.

Rajbhandari et al. 2019, arXiv:1910.02054, section 5; Zhao et al. 2023, arXiv:2304.11277, for units and prefetching. What is
gathered together (the units of `tuitrain_planners.memory.sharding`):

    each layer        before its forward and again before its backward
    the loss head     around the loss
    the embedding     around the lookup
    the root          the last norm; with tied embeddings the one table too, which both ends of the step need

The loss of a step is divided as under data parallelism: FSDP2 averages gradients over the ranks, see `step`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.precision import Recipe


def apply_zero3(loss: LanguageModelLoss, mesh: DeviceMesh, recipe: Recipe, *, reshard: bool = True) -> LanguageModelLoss:
    """Shard `loss` in place over the one axis of `mesh`; make the optimizer afterwards.

    Weights stay as `recipe` keeps them and are gathered in its compute dtype; gradients are summed in fp32. `reshard=False`
    keeps gathered weights from forward to backward.
    """
    decoder = loss.decoder
    policy = MixedPrecisionPolicy(param_dtype=recipe.compute, reduce_dtype=torch.float32)
    units: list[nn.Module] = [*decoder.model.layers]
    if not decoder.shape.tie_embeddings:
        units += [decoder.model.embed_tokens, loss.loss_head]
    for unit in units:
        fully_shard(unit, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard)
    # The head's weight is reached twice, by its own unit and through the decoder: the root must leave it alone.
    taken = set() if decoder.shape.tie_embeddings else set(loss.loss_head.parameters())
    fully_shard(loss, mesh=mesh, mp_policy=policy, ignored_params=taken)
    return loss
