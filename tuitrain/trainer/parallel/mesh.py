"""The processes as a grid of named axes. Data parallelism alone has one, `shard`; HSDP puts `replicate` around it. Axes for
tensor, pipeline, context and expert parallelism join here when they exist."""

from __future__ import annotations

from typing import Final

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from tuitrain.errors import UsageError
from tuitrain.trainer.parallel.world import World

REPLICATE: Final = "replicate"
SHARD: Final = "shard"


def data_mesh(world: World, shard_group: int | None = None) -> DeviceMesh:
    """All processes; `shard_group` neighbours share one copy of the states, the groups hold copies of their own."""
    if shard_group is None or shard_group == world.size:
        return init_device_mesh(world.device.type, (world.size,), mesh_dim_names=(SHARD,))
    if world.size % shard_group:
        raise UsageError(
            f"parallel.shard_group={shard_group} does not divide {world.size} processes", "a divisor of the number of processes"
        )
    return init_device_mesh(world.device.type, (world.size // shard_group, shard_group), mesh_dim_names=(REPLICATE, SHARD))
