"""PlanRequest: the question. Everything a plan depends on, checked; nothing is read from elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.economy import Economy
from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.flops import DEFAULT_CONVENTION
from tuitrain_planners.framework import framework
from tuitrain_planners.goodput import Reliability
from tuitrain_planners.hardware import Hardware
from tuitrain_planners.laws import EPOCH, LossLaw
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.quantity import Quantity, derived
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.storage import Host
from tuitrain_planners.units import format_count

DEFAULT_ECONOMY: Final = Economy()
DEFAULT_HOST: Final = Host()
DEFAULT_RELIABILITY: Final = Reliability()
ONE_DEVICE: Final = Mesh()
ATTENTION: Final = ("flash", "naive")
OFFLOADS: Final = ("none", "optimizer", "all")
REFERENCES: Final = ("none", "adapter-off", "copy", "cached")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRequest:
    """What to plan. Names are checked by the modules that own them, when the plan is made."""

    shape: ModelShape
    hardware: Hardware
    seq_len: int
    """Tokens per sequence."""
    micro_batch: int = 1
    """Sequences per forward pass and device."""
    grad_accum: int = 1
    """Forward passes per optimizer step."""
    mesh: Mesh = ONE_DEVICE
    """How many devices work together, along which axes."""
    zero: int = 0
    """ZeRO stage: 1 shards the optimizer's states over the devices, 2 gradients too, 3 weights too."""
    no_sync: bool = False
    """Accumulation keeps whole gradients and reduces once per step, not in every micro-step (ZeRO-2 and 3)."""
    reshard: bool = True
    """Whether ZeRO-3 gives gathered weights back between forward and backward."""
    shard_group: int | None = None
    """Devices that share states, fewer than there are: the rest hold copies (HSDP). None: all of them."""
    offload: str = "none"
    """none | optimizer | all: which states live in host memory (all: weights too)."""
    expert_imbalance: float = 1.0
    """Tokens of the device whose experts are visited most, over the mean; its memory is what counts."""
    step_in_backward: bool = False
    """Whether each gradient moves its weight as soon as it is made; not with accumulation."""
    variable_lengths: bool = False
    """Whether micro-batches differ in length (fine-tuning without packing): the allocator fragments more."""
    attention: str = "flash"
    """flash | naive: whether the s x s matrix of scores is written out."""
    adapter: Adapter | None = None
    """LoRA or QLoRA beside a frozen model; None: every weight is trained."""
    reference: str = "none"
    """DPO's reference model: none | adapter-off (the same frozen weights) | copy (a second model) | cached (ran before)."""
    framework: str = "tuitrain"
    """A key of `framework.FRAMEWORKS`: whose software lays the step out."""
    precision: str = "bf16-mixed"
    """A key of `precision.RECIPES`."""
    optimizer: str = "adamw"
    """A key of `optimizers.OPTIMIZERS`."""
    recompute: str = "none"
    """none | selective | full."""
    loss_head: str = "plain"
    """A key of `memory.LOSS_HEADS`: plain | bf16 | split | chunked-logits | chunked | fused."""
    chunk_rows: int | None = None
    """Rows of logits a chunked head holds at a time; None: as many as the kernel takes."""
    compiled: bool = False
    """Whether torch.compile is on: faster, and the compiler stays in memory."""
    tokens: float | None = None
    """Length of the run. At most one of tokens and steps; with neither, as many as the law finds optimal."""
    steps: int | None = None
    """Length of the run in optimizer steps."""
    unique_tokens: float | None = None
    """Tokens of the training data; more than that repeats it. None: there is always fresh data."""
    bytes_per_token: float | None = None
    """Bytes of text a token stands for. Needed by laws that count bytes."""
    law: LossLaw = EPOCH
    """Predicts the loss and the optimal tokens."""
    economy: Economy = DEFAULT_ECONOMY
    """Prices, power share, PUE and carbon intensity."""
    host: Host = DEFAULT_HOST
    """The machines around the devices: RAM, disks, checkpoints kept."""
    reliability: Reliability = DEFAULT_RELIABILITY
    """Failures, restarts and saving: what goodput is made of."""
    convention: str = DEFAULT_CONVENTION
    """FLOP convention of the figures and of MFU."""

    def __post_init__(self) -> None:
        for name in ("seq_len", "micro_batch", "grad_accum"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise PlanError(f"{name} is {value!r}", "a whole number of at least 1")
        if self.tokens is not None and self.steps is not None:
            raise PlanError(
                f"both tokens ({format_count(self.tokens)}) and steps ({self.steps}) set the length", "give one of them"
            )
        for name in ("tokens", "steps", "unique_tokens", "bytes_per_token"):
            if (value := getattr(self, name)) is not None and not (math.isfinite(value) and value > 0):
                raise PlanError(f"{name} is {value}", "give a positive number, or leave it out")
        for name, known in (("attention", ATTENTION), ("offload", OFFLOADS), ("reference", REFERENCES)):
            if (choice := getattr(self, name)) not in known:
                raise unknown_name(name, choice, known)
        if not (math.isfinite(self.expert_imbalance) and self.expert_imbalance >= 1):
            raise PlanError(f"expert imbalance {self.expert_imbalance:g}", "1 (even load) or more")
        if self.expert_imbalance != 1 and self.shape.experts is None:
            raise PlanError(f"{self.shape.name}: imbalance {self.expert_imbalance:g} of a dense model", "it needs experts")
        if self.step_in_backward and self.grad_accum > 1:
            raise PlanError(f"a step within backward, and {self.grad_accum} micro-batches per step", "grad_accum 1")
        self.mesh.check(self.shape, self.seq_len)
        if self.shard_group is not None and (self.shard_group < 1 or self.mesh.state_ranks % self.shard_group):
            raise PlanError(
                f"groups of {self.shard_group} devices that share states, of {self.mesh.state_ranks}",
                "the groups must be equal",
            )
        if self.reference == "adapter-off" and self.adapter is None:
            raise PlanError(
                "the reference is the model without its adapter, and there is none", "reference copy, or an adapter"
            )
        if self.shape.learned_positions and self.seq_len > self.shape.max_seq_len:
            raise PlanError(
                f"seq_len {self.seq_len} exceeds the {self.shape.max_seq_len} learned positions of {self.shape.name}",
                "shorten the sequence",
            )

    def sharding(self, zero: int | None = None) -> Sharding:
        """How states are spread; at another stage when one is given."""
        stage = self.zero if zero is None else zero
        group = self.shard_group or self.mesh.state_ranks
        return Sharding(
            framework=framework(self.framework),
            stage=stage,
            ranks=group,
            expert_ranks=max(1, group // self.mesh.ep),
            replicas=self.mesh.state_ranks // group,
            reshard=self.reshard,
            no_sync=self.no_sync,
        )

    @property
    def data_per_token(self) -> float:
        """What one token is in the unit the law counts data in."""
        if self.law.data_unit == "tokens":
            return 1.0
        if self.bytes_per_token is None:
            raise PlanError(f"the law {self.law.name!r} counts bytes", "say how many bytes a token stands for")
        return self.bytes_per_token

    @property
    def sequences(self) -> int:
        """Sequences of a forward pass: a preference pair is two."""
        return self.micro_batch * (1 if self.reference == "none" else 2)

    def tokens_per_step(self) -> Quantity:
        """The global batch."""
        s, b, accumulate, dp = self.seq_len, self.sequences, self.grad_accum, self.mesh.dp
        return derived(
            "tokens per step",
            s * b * accumulate * dp,
            "tokens",
            "s * b * accumulate * dp",
            s=s,
            b=b,
            accumulate=accumulate,
            dp=dp,
        )
