"""How one model trains in several processes. Parallelism is applied to the model, the model does not know of it."""

from tuitrain.trainer.parallel.world import World, init_world

__all__ = ["World", "init_world"]
