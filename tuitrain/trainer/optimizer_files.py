"""The optimizer's states on disk, by parameter name (torch.distributed.checkpoint): laid down in the pieces processes have,
read by any number of others."""

from __future__ import annotations

import copy
import errno
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.side import Side


def save_optimizer(state: dict[str, Any], folder: Path, side: Side, *, cut: bool) -> None:
    """Write states; collective where every process has a part (`cut`), else the main process writes all of them."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_saver import save

    if not cut and not side.is_main:
        return
    alone = not cut or side.group is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "torch.distributed is disabled, unavailable or uninitialized": meant so
        if alone:
            save(state, checkpoint_id=folder, no_dist=True)
            return
        try:
            save(state, checkpoint_id=folder, process_group=side.group)
        except CheckpointException as error:  # no Exception, in torch: it would end the process
            rank, (why, _) = next(iter(error.failures.items()))
            raise OSError(errno.EIO, f"rank {rank}: {type(why).__name__}: {why}") from error


def load_optimizer(optimizers: Optimizers, folder: Path) -> None:
    """Each process reads its own part, however many wrote it."""
    from torch.distributed.checkpoint.state_dict_loader import load

    state = {"optimizer": optimizers.state_dict()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(state, checkpoint_id=folder, no_dist=True)
    optimizers.load_state_dict(state["optimizer"])


def tensors_of(state: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested dictionaries."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for each in state.values():
            yield from tensors_of(each)


def copied(state: Any) -> Any:
    """The same with tensors of its own in host memory."""
    if isinstance(state, DTensor):
        part = state.to_local().detach().to("cpu", copy=True)
        return DTensor(part, state._spec, requires_grad=False)  # type: ignore[no-untyped-call]
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copied(each) for key, each in state.items()}
    return copy.deepcopy(state)
