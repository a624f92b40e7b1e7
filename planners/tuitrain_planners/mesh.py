"""Mesh: how many devices work together, and along which axes.

    dp   data: each works on its part of the batch          zero   what they share of the states (0 to 3)
    tp   tensor: matrices cut inside a layer                 sp     norms and residuals cut along the sequence on the same axis
    pp   pipeline: layers dealt out                          vp     turns in which they are dealt (interleaved schedule)
    cp   context: the sequence cut                           ep     experts dealt out over devices of the data axis

devices = dp * tp * pp * cp. Experts live on ep of the dp * cp devices (Megatron-Core: expert parallelism is carved out of data
parallelism), and states are sharded over dp * cp of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.shapes import ModelShape

SCHEDULES: Final = ("1f1b", "gpipe", "interleaved")
"""Narayanan et al. (2021), section 2.2; interleaved is chosen by vp > 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mesh:
    """Degrees of parallelism. One device: all are 1."""

    dp: int = 1
    tp: int = 1
    pp: int = 1
    vp: int = 1
    cp: int = 1
    ep: int = 1
    sequence_parallel: bool = True
    """With tp: activations outside the cut matrices are cut too (Korthikanti et al. 2022, section 4.2)."""
    schedule: str = "1f1b"

    def __post_init__(self) -> None:
        for name in ("dp", "tp", "pp", "vp", "cp", "ep"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise PlanError(f"{name} is {value!r}", "degrees of parallelism are whole numbers of at least 1")
        if self.schedule not in SCHEDULES:
            raise unknown_name("pipeline schedule", self.schedule, SCHEDULES)
        if (self.schedule == "interleaved") != (self.vp > 1):
            raise PlanError(
                f"schedule {self.schedule} with {self.vp} turns (vp)",
                "interleaved deals layers out in several turns, the other schedules in one",
            )
        if self.vp > 1 and self.pp == 1:
            raise PlanError(f"vp {self.vp} without a pipeline", "interleaving needs pp of at least 2")
        if (self.dp * self.cp) % self.ep:
            raise PlanError(f"ep {self.ep} does not divide dp * cp = {self.dp * self.cp}", "experts live on the data axis")

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return self.dp * self.tp * self.pp * self.cp

    @property
    def communicators(self) -> int:
        """Groups of devices that each device talks in."""
        return sum(degree > 1 for degree in (self.dp, self.tp, self.pp, self.cp, self.ep))

    @property
    def state_ranks(self) -> int:
        """Devices that hold the same weights, and can share their states."""
        return self.dp * self.cp

    @property
    def expert_ranks(self) -> int:
        """Devices that hold the same experts."""
        return self.dp * self.cp // self.ep

    @property
    def sequence_cut(self) -> int:
        """Into how many parts norms and residuals are cut by tensor parallelism."""
        return self.tp if self.sequence_parallel else 1

    def check(self, shape: ModelShape, seq_len: int) -> None:
        """Whether the model can be cut so; an error names the nearest degree that can."""
        _divides(shape.name, "num_heads", shape.num_heads, "tp", self.tp)
        if shape.latent is None:
            _divides(shape.name, "num_kv_heads", shape.num_kv_heads, "tp", self.tp)
        _divides(shape.name, "ffn_size", shape.ffn_size, "tp", self.tp)
        if self.pp * self.vp > shape.num_layers:
            raise PlanError(
                f"{shape.name}: {shape.num_layers} layers for pp * vp = {self.pp * self.vp} stages",
                "a stage has a layer or more",
            )
        if seq_len % (self.cp * self.sequence_cut):
            raise PlanError(
                f"a sequence of {seq_len} tokens in {self.cp * self.sequence_cut} parts (cp * tp)", "the parts must be equal"
            )
        if self.ep > 1 and shape.experts is None:
            raise PlanError(f"{shape.name}: ep {self.ep} of a dense model", "expert parallelism needs experts")
        if shape.experts is not None:
            _divides(shape.name, "experts", shape.experts.num, "ep", self.ep)
            _divides(shape.name, "expert ffn_size", shape.experts.ffn_size, "tp", self.tp)


def _divides(name: str, what: str, size: int, axis: str, degree: int) -> None:
    if size % degree:
        raise PlanError(f"{name}: {axis} {degree} does not divide {what} {size}", f"choose {axis} among {_divisors(size)}")


def _divisors(size: int) -> str:
    return ", ".join(str(each) for each in range(1, min(size, 128) + 1) if size % each == 0)
