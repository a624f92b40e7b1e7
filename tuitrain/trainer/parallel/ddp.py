"""Data parallelism: every process holds the whole model, gradients are averaged during the last backward pass of a step.

Li et al. 2020, arXiv:2006.15704. The loss is scaled so that the average over processes is the sum over tokens divided by their
global count; see `step`.
"""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tuitrain.trainer.parallel.world import World


def replicate(module: nn.Module, world: World) -> nn.Module:
    """`module` with its gradients averaged over the processes; itself when there is one."""
    if world.size == 1:
        return module
    devices = [world.device.index] if world.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices, gradient_as_bucket_view=True, forward_sync_buffers=False)
