"""What would make room: single changes to a layout that does not fit, each planned. None changes what is computed but the ones
that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.errors import PlanError
from tuitrain_planners.grid import memory_of
from tuitrain_planners.memory.device import Verdict
from tuitrain_planners.quantity import Quantity
from tuitrain_planners.request import PlanRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """One change."""

    change: str
    request: PlanRequest
    device_bytes: Quantity
    """Middle estimate with the change."""
    verdict: Verdict


def remedies(request: PlanRequest) -> tuple[Remedy, ...]:
    """Changes that need less memory than the request does, mildest first."""
    now, found = memory_of(request).device_bytes.mid.value, []
    for change, other in _changes(request):
        try:
            memory = memory_of(other)
        except PlanError:  # a change this request does not allow is none
            continue
        if memory.device_bytes.mid.value < now:
            found.append(Remedy(change=change, request=other, device_bytes=memory.device_bytes.mid, verdict=memory.verdict))
    return tuple(found)


def _changes(request: PlanRequest) -> Iterator[tuple[str, PlanRequest]]:
    """Mildest first."""
    if request.loss_head not in ("chunked", "fused"):
        yield "a chunked loss head", replace(request, loss_head="chunked")
    mesh = request.mesh
    if request.grad_accum % 2 == 0:
        wider, m = replace(mesh, dp=2 * mesh.dp), request.grad_accum // 2
        yield f"twice the devices ({wider.devices})", replace(request, mesh=wider, grad_accum=m)
    if request.optimizer.startswith("adamw") and "8bit" not in request.optimizer:
        yield "moments in 8 bits (adamw-8bit)", replace(request, optimizer="adamw-8bit")
    if request.offload == "none":
        yield "optimizer states in host memory", replace(request, offload="optimizer")
    if request.precision != "bf16-pure":
        yield "bf16-pure, which rounds small updates away", replace(request, precision="bf16-pure")
    parts = 2 * mesh.cp * mesh.sequence_cut
    if request.seq_len % parts == 0:
        yield f"sequences of {request.seq_len // 2} tokens", replace(request, seq_len=request.seq_len // 2)
    if request.adapter is None:
        yield "LoRA beside frozen weights", replace(request, adapter=Adapter())
        yield "QLoRA beside weights in 4 bits", replace(request, adapter=Adapter(base="nf4"))
