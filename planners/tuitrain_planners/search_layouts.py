"""The layouts a number of devices and a global batch leave open: every way both multiply up.

    devices        dp * tp * pp * cp; ep of the dp * cp; tp within one machine
    global batch   dp * micro-batch * accumulation, in sequences: the same for all, so that all train the same model
    schedules      1F1B, or interleaved in vp turns where layers and micro-batches divide (Narayanan et al. 2021, section 2.2)
    ZeRO           0 to 3; with a pipeline 0 or 1, as Megatron-LM has it: higher stages would gather or reduce each micro-batch

What cannot be divided is not tried; `Ruled` says what that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, NamedTuple

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.flops import RECOMPUTE
from tuitrain_planners.memory.head import LOSS_HEADS
from tuitrain_planners.memory.sharding import STAGES
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.precision import recipe
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.workload import NODE_DEVICES

PIPELINE_ZERO: Final = 1
"""Highest ZeRO stage tried with a pipeline."""
_AXES: Final = ("tp", "pp", "vp", "cp", "ep")


class Layout(NamedTuple):
    """What the search varies. A tuple, since there are a hundred thousand of them."""

    mesh: Mesh
    zero: int
    precision: str
    recompute: str
    loss_head: str
    micro_batch: int
    grad_accum: int

    def of(self, request: PlanRequest) -> PlanRequest:
        """The request in this layout."""
        return replace(
            request,
            mesh=self.mesh,
            zero=self.zero,
            precision=self.precision,
            recompute=self.recompute,
            loss_head=self.loss_head,
            micro_batch=self.micro_batch,
            grad_accum=self.grad_accum,
        )

    @property
    def global_batch(self) -> int:
        """Sequences per optimizer step."""
        return self.mesh.dp * self.micro_batch * self.grad_accum

    @property
    def moving_parts(self) -> tuple[int, int, int, int]:
        """Axes in use beside data, ZeRO stage, how much is recomputed, micro-batches: fewer are simpler."""
        axes = sum(getattr(self.mesh, axis) > 1 for axis in _AXES)
        return axes, self.zero, RECOMPUTE.index(self.recompute), self.grad_accum

    def __str__(self) -> str:
        degrees = [f"dp {self.mesh.dp}", *(f"{axis} {n}" for axis in _AXES if (n := getattr(self.mesh, axis)) > 1)]
        batch = f"batch {self.micro_batch} x {self.grad_accum}"
        kept = (self.precision, f"{self.loss_head} loss")
        return ", ".join((*degrees, f"ZeRO {self.zero}", f"recompute {self.recompute}", batch, *kept))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What may be varied. An empty tuple: of precision and loss head what the request says; of an axis whatever divides."""

    tp: tuple[int, ...] = ()
    pp: tuple[int, ...] = ()
    vp: tuple[int, ...] = ()
    cp: tuple[int, ...] = ()
    ep: tuple[int, ...] = ()
    zero: tuple[int, ...] = STAGES
    recompute: tuple[str, ...] = RECOMPUTE
    precisions: tuple[str, ...] = ()
    loss_heads: tuple[str, ...] = ()
    node_devices: int = NODE_DEVICES
    """Devices that share the fast links of one machine: the most tensor parallelism is tried over."""

    def __post_init__(self) -> None:
        if wrong := sorted(set(self.zero) - set(STAGES)):
            raise PlanError(f"ZeRO stage {wrong[0]}", "one of 0, 1, 2, 3")
        for what, names, known in (("recompute mode", self.recompute, RECOMPUTE), ("loss head", self.loss_heads, LOSS_HEADS)):
            for name in names:
                if name not in known:
                    raise unknown_name(what, name, known)
        for name in self.precisions:
            recipe(name)
        if self.node_devices < 1:
            raise PlanError(f"{self.node_devices} devices per machine", "at least one")

    def allows(self, axis: str, degree: int) -> bool:
        """Whether a degree of an axis was left open."""
        chosen: tuple[int, ...] = getattr(self, axis)
        return not chosen or degree in chosen


OPEN: Final = Bounds()


@dataclass(slots=True)
class Ruled:
    """Why degrees were not tried: a sentence for each."""

    reasons: dict[str, None] = field(default_factory=dict)

    def out(self, reason: str) -> None:
        """Remember a reason, once."""
        self.reasons.setdefault(reason)


@lru_cache(maxsize=1024)
def divisors(number: int) -> tuple[int, ...]:
    """All of them, rising."""
    low = [each for each in range(1, int(number**0.5) + 1) if number % each == 0]
    return tuple(sorted({*low, *(number // each for each in low)}))


def candidates(request: PlanRequest, global_batch: int, bounds: Bounds = OPEN, ruled: Ruled | None = None) -> Iterator[Layout]:
    """Every layout of the request's devices at a global batch in sequences, those of one mesh one after another."""
    if global_batch < 1:
        raise PlanError(f"a global batch of {global_batch} sequences", "at least one")
    ruled = Ruled() if ruled is None else ruled
    precisions, heads = bounds.precisions or (request.precision,), bounds.loss_heads or (request.loss_head,)
    for mesh in meshes(request, bounds, ruled):
        if global_batch % mesh.dp:
            ruled.out(f"dp {mesh.dp} does not divide the global batch of {global_batch} sequences")
            continue
        own = global_batch // mesh.dp
        batches = [(micro, own // micro) for micro in divisors(own) if _schedulable(request, mesh, own // micro)]
        stages = _stages(request, mesh, bounds)
        for precision in precisions:
            for zero in stages:
                for recompute in bounds.recompute:
                    for head in heads:
                        for micro, accum in batches:
                            yield Layout(mesh, zero, precision, recompute, head, micro, accum)


def meshes(request: PlanRequest, bounds: Bounds, ruled: Ruled) -> Iterator[Mesh]:
    """Every way the devices multiply up that the model can be cut in."""
    devices = request.mesh.devices
    for tp in _degrees("tp", devices, request, bounds, ruled):
        for pp in _degrees("pp", devices // tp, request, bounds, ruled):
            for cp in _degrees("cp", devices // (tp * pp), request, bounds, ruled):
                dp = devices // (tp * pp * cp)
                if request.shard_group is not None and (dp * cp) % request.shard_group:
                    ruled.out(f"groups of {request.shard_group} devices that share states do not divide dp * cp = {dp * cp}")
                    continue
                for ep in _degrees("ep", dp * cp, request, bounds, ruled):
                    for vp in _turns(request, pp, bounds):
                        mesh = Mesh(
                            dp=dp, tp=tp, pp=pp, vp=vp, cp=cp, ep=ep, sequence_parallel=request.mesh.sequence_parallel,
                            schedule="interleaved" if vp > 1 else "1f1b",
                        )  # fmt: skip
                        if (problem := _problem(mesh, request)) is None:
                            yield mesh
                        else:
                            ruled.out(problem)


def _degrees(axis: str, devices: int, request: PlanRequest, bounds: Bounds, ruled: Ruled) -> Iterator[int]:
    """Divisors that the axis by itself can have."""
    if axis == "ep" and request.shape.experts is None:
        if bounds.allows("ep", 1):
            yield 1
        return
    for degree in divisors(devices):
        if not bounds.allows(axis, degree):
            continue
        if axis == "tp" and degree > bounds.node_devices:
            ruled.out(f"tp {degree} is more than the {bounds.node_devices} devices of one machine")
        elif problem := _problem(_alone(axis, degree), request):
            ruled.out(problem)
        else:
            yield degree


def _alone(axis: str, degree: int) -> Mesh:
    """A mesh with one axis in use; experts live on the data axis."""
    degrees = {axis: degree}
    return Mesh(
        dp=degrees.get("ep", 1), tp=degrees.get("tp", 1), pp=degrees.get("pp", 1), cp=degrees.get("cp", 1),
        ep=degrees.get("ep", 1),
    )  # fmt: skip


def _problem(mesh: Mesh, request: PlanRequest) -> str | None:
    try:
        mesh.check(request.shape, request.seq_len)
    except PlanError as error:
        return error.message
    return None


def _turns(request: PlanRequest, pp: int, bounds: Bounds) -> Iterator[int]:
    """How often layers are dealt round: once, or as often as divides a stage's layers."""
    layers = request.shape.num_layers
    for vp in divisors(layers // pp) if pp > 1 and layers % pp == 0 else (1,):
        if bounds.allows("vp", vp):
            yield vp


def _stages(request: PlanRequest, mesh: Mesh, bounds: Bounds) -> tuple[int, ...]:
    """ZeRO stages that differ and are run."""
    stages = tuple(stage for stage in bounds.zero if mesh.pp == 1 or stage <= PIPELINE_ZERO)
    return stages[:1] if mesh.state_ranks == 1 else stages


def _schedulable(request: PlanRequest, mesh: Mesh, micro_batches: int) -> bool:
    """Interleaving takes micro-batches in rounds of pp; a step within backward takes one."""
    if request.step_in_backward and micro_batches > 1:
        return False
    return mesh.vp == 1 or micro_batches % mesh.pp == 0
