"""One rank of a group whose other members do not exist, and torch's parallelism on fake tensors: collectives return at once.

Three things of torch 2.13 do not run on fake tensors as they are. Each is replaced while inside `fake_ranks`, and only then:

    DeviceMesh               its ranks are a tensor that is read: made, and cut into its axes, outside of every mode
    DDP's first exchange     compares shapes and sends weights over: left out (`init_sync=False`)
    DDP's sum of a bucket    asks a future that the fake group does not make: a hook hands the bucket back. After the first step
                             DDP also deals its buckets out anew, by numbers it reads from tensors: it is told it need not

DDP makes its buckets by itself, as tensors that a dispatch mode sees. New buckets of the second step would be as large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import _disable_current_modes

from tuitrain.trainer.parallel import ddp, mesh


@contextmanager
def fake_ranks(ranks: int, summed: Callable[[Tensor], None]) -> Iterator[None]:
    """Be rank 0 of `ranks`. `summed` hears of every bucket DDP would sum over them. One rank needs none of this."""
    if ranks == 1:
        yield
        return
    from torch.testing._internal.distributed.fake_pg import FakeStore  # registers the backend

    def replicated(*args: Any, **options: Any) -> DistributedDataParallel:
        return _FakeDDP(*args, summed=summed, **options)

    dist.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())
    places: list[tuple[Any, str, Any]] = [
        (mesh, "init_device_mesh", _without_modes(init_device_mesh)),
        (DeviceMesh, "__getitem__", _without_modes(DeviceMesh.__getitem__)),
        (ddp, "DistributedDataParallel", replicated),
    ]
    kept = [getattr(owner, name) for owner, name, _ in places]
    try:
        for owner, name, other in places:
            setattr(owner, name, other)
        yield
    finally:
        for (owner, name, _), before in zip(places, kept, strict=True):
            setattr(owner, name, before)
        dist.destroy_process_group()


class _FakeDDP(DistributedDataParallel):
    """DDP that talks to nobody."""

    def __init__(self, module: nn.Module, *, summed: Callable[[Tensor], None], **options: Any) -> None:
        super().__init__(module, init_sync=False, **options)
        self.register_comm_hook(summed, _unannotated(_hand_back))
        self.reducer = _KeepsItsBuckets(self.reducer)  # type: ignore[assignment]


def _unannotated(hook: Callable[..., Any]) -> Callable[..., Any]:
    """DDP compares a hook's annotations with its own types, and takes the text that postponed ones are for another."""
    return lambda state, bucket: hook(state, bucket)  # noqa: PLW0108 - the lambda is the point


def _hand_back(summed: Callable[[Tensor], None], bucket: Any) -> torch.futures.Future[Tensor]:
    summed(bucket.buffer())
    done: torch.futures.Future[Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


class _KeepsItsBuckets:
    """A reducer that never deals its buckets out anew."""

    def __init__(self, reducer: Any) -> None:
        self._reducer = reducer

    def _rebuild_buckets(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reducer, name)


def _without_modes(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, on real tensors and unseen, whatever is being simulated."""

    def run(*args: Any, **options: Any) -> Any:
        with _disable_current_modes():
            return function(*args, **options)

    return run
