"""Whose bytes: the same layout costs different memory in different software. One table says what each implies, and from where.

What a framework decides: whether norms keep 32-bit copies of their input, whether grouped keys and values are repeated to full
width, whether the input table and the head stay gathered through a ZeRO-3 step, and in which precision states are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners.errors import unknown_name
from tuitrain_planners.precision import Precision, StateBytes
from tuitrain_planners.quantity import Quantity, derived


@dataclass(frozen=True, kw_only=True, slots=True)
class Framework:
    """How one piece of software lays a training step out."""

    name: str
    source: str
    """Where its properties are from."""
    fused_norms: bool = False
    """Norms keep their input in the compute dtype; written out in Python they keep it in 32 bits."""
    repeats_kv: bool = False
    """Grouped keys and values are repeated to the width of the queries before attention."""
    root_stays_gathered: bool = False
    """Embedding, head and last norm form the root group, which is gathered from the first forward to the last backward."""
    reshards_in_two: bool = True
    """ZeRO-2 keeps 32-bit shards and gathers a 16-bit working copy (FSDP2); else whole 16-bit weights are kept (the paper)."""
    buckets: bool = False
    """Unsharded gradients of several ranks live in buckets that are never freed (DistributedDataParallel)."""
    autocast: bool = False
    """torch.autocast over 32-bit weights: the residual stream stays in 32 bits, every consumer of a norm casts its own input,
    and casts of weights are kept for backward."""
    sixteen_bit_states: bool = False
    """Weights and gradients in 16 bits, 32-bit master weights beside the moments (Rajbhandari et al. 2019, section 3.1)."""
    fused_ffn: bool = False
    """One kernel for the activation function and its product: its own result is not kept."""
    score_bytes: int = 6
    """Per entry of written-out attention scores: softmax in 32 bits and its 16-bit copy (transformers); 2 in a fused kernel."""
    selective: str = "products"
    """What selective recomputation keeps: products | every second product | attention (everything but the scores)."""
    bucket_elements: int = 0
    """Entries of the flat buffer that gradients are gathered in before they are summed; 0: none of its own."""
    buckets_at_once: int = 1
    """Two when summing overlaps with backward."""
    loss_head: str = "plain"
    """Loss head it runs unless told otherwise."""

    def bucket_bytes(self, stage: int, ranks: int) -> tuple[Quantity, ...]:
        """Flat buffers of a fixed size, in 16 bits."""
        if not self.bucket_elements or ranks == 1 or stage == 0:
            return ()
        n, e = self.buckets_at_once, self.bucket_elements
        return (derived("communication buckets", n * e * 2, "bytes", "n * e * 2", self.source, n=n, e=e),)

    def states(self, precision: Precision) -> Precision:
        """The recipe with this framework's bytes per state."""
        if not self.sixteen_bit_states or precision.compute_bytes > 2:
            return precision
        return replace(precision, matrix=_PAPER_STATES, vector=_PAPER_STATES)


_PAPER_STATES: Final = StateBytes(weight=2, copy=0, grad=2, main_grad=0, moment=4, master=4)

FRAMEWORKS: Final[dict[str, Framework]] = {
    "tuitrain": Framework(
        name="tuitrain",
        source="definition: this project's trainer; unsharded figures are live tensors of its own steps",
        buckets=True,
        loss_head="chunked",
    ),
    "fsdp2-hf": Framework(
        name="fsdp2-hf",
        source="measured: op-level trace of transformers' Llama under FSDP2 (32-bit shards, bf16 compute, 32-bit reduction)",
        root_stays_gathered=True,
    ),
    "fsdp2-native": Framework(
        name="fsdp2-native",
        source="measured: op-level trace of a hand-written Llama with fused norms under FSDP2, every part a unit of its own",
        fused_norms=True,
        repeats_kv=True,
    ),
    "hf-trainer": Framework(
        name="hf-trainer",
        source="measured: op-level trace of transformers' Llama under torch.autocast and DistributedDataParallel",
        buckets=True,
        autocast=True,
    ),
    "ddp-native": Framework(
        name="ddp-native",
        source="measured: op-level trace of a hand-written Llama with fused norms under torch.autocast and DDP",
        fused_norms=True,
        repeats_kv=True,
        buckets=True,
        autocast=True,
    ),
    "deepspeed-paper": Framework(
        name="deepspeed-paper", source="zero2019", fused_norms=True, reshards_in_two=False, sixteen_bit_states=True
    ),
}


def framework(name: str) -> Framework:
    """The framework of that name."""
    if name not in FRAMEWORKS:
        raise unknown_name("framework", name, FRAMEWORKS)
    return FRAMEWORKS[name]
