"""ZeRO-1: every rank holds the whole model and all gradients (DDP), and moves the rows it owns of each matrix.

Rajbhandari et al. 2019, arXiv:1910.02054, section 5.1. torch's own ZeroRedundancyOptimizer gives whole parameters to ranks, so
that one large embedding decides how much the fullest rank holds; here rows are cut as FSDP2 cuts them. What an optimizer sees
are DTensors that share the memory of the model's parameters, so a step writes into the model and its states are laid out, and
saved, as those of ZeRO-2 and 3 are. The rows of the others are gathered after the step, a bucket at a time.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from tuitrain.model.shards import rows_of

BUCKET_BYTES: Final = 32 << 20
"""Of one rank's rows that are gathered at once: large enough for the links, small beside any model worth cutting."""


class OwnedRows:
    """The rows of every trained parameter that this rank moves. `mesh` has one axis, of the ranks that share states."""

    def __init__(self, model: nn.Module, mesh: DeviceMesh) -> None:
        self._mesh, self._rank, self._ranks = mesh, mesh.get_local_rank(), mesh.size()
        self._owned: dict[nn.Parameter, nn.Parameter] = {}
        self._whole: dict[nn.Parameter, nn.Parameter] = {}
        self.names: dict[str, nn.Parameter] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                owned = nn.Parameter(self._cut(parameter.detach()))
                self._owned[parameter], self._whole[owned], self.names[name] = owned, parameter, owned

    def of(self, parameter: nn.Parameter) -> nn.Parameter:
        """What an optimizer moves in the place of a parameter."""
        return self._owned[parameter]

    def whole(self, owned: nn.Parameter) -> nn.Parameter:
        """The parameter of which an optimizer moves `owned`."""
        return self._whole[owned]

    def take_gradients(self) -> None:
        """Show the optimizer its rows of the gradients there are."""
        for parameter, owned in self._owned.items():
            owned.grad = None if parameter.grad is None else self._cut(parameter.grad)

    def drop_gradients(self) -> None:
        """Forget them."""
        for owned in self._owned.values():
            owned.grad = None

    @torch.no_grad()
    def gather(self) -> None:
        """Every rank's new rows into every rank's parameters."""
        bucket: list[nn.Parameter] = []
        size, kind = 0, None
        for parameter in self._owned:
            bytes_ = self._padded(parameter) * parameter.element_size()
            if bucket and (size + bytes_ > BUCKET_BYTES or parameter.dtype is not kind):
                self._gather(bucket)
                bucket, size = [], 0
            bucket.append(parameter)
            size, kind = size + bytes_, parameter.dtype
        if bucket:
            self._gather(bucket)

    def _gather(self, bucket: list[nn.Parameter]) -> None:
        sent = torch.cat([self._my_padded_rows(each) for each in bucket])
        whole = sent.new_empty(self._ranks, len(sent))
        dist.all_gather_into_tensor(whole.view(-1), sent, group=self._mesh.get_group())
        at = 0
        for parameter in bucket:
            count = self._padded(parameter)
            for rank in range(self._ranks):
                rows = rows_of(rank, self._ranks, parameter.shape[0])
                if rank != self._rank and rows.stop > rows.start:
                    part = parameter[rows]
                    part.copy_(whole[rank, at : at + part.numel()].view_as(part))
            at += count

    def _my_padded_rows(self, parameter: nn.Parameter) -> Tensor:
        rows = parameter.detach()[rows_of(self._rank, self._ranks, parameter.shape[0])].flatten()
        missing = self._padded(parameter) - len(rows)
        return torch.cat([rows, rows.new_zeros(missing)]) if missing else rows

    def _padded(self, parameter: nn.Parameter) -> int:
        """Entries of the most rows any rank has."""
        return -(-parameter.shape[0] // self._ranks) * (parameter.numel() // max(1, parameter.shape[0]))

    def _cut(self, whole: Tensor) -> DTensor:
        rows = whole[rows_of(self._rank, self._ranks, whole.shape[0])]
        cut: DTensor = DTensor.from_local(
            rows, self._mesh, [Shard(0)], run_check=False, shape=whole.shape, stride=whole.contiguous().stride()
        )
        return cut
