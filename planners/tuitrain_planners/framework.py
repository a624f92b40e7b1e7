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
    gathers_once: bool = False
    """ZeRO-2 keeps gathered weights through all micro-batches of a step; else they are gathered in each."""
    row_bucket_bytes: int = 0
    """ZeRO-1: of one rank's new rows that are gathered at once after a step; 0: without room of its own."""
    buckets: bool = False
    """Unsharded gradients of several ranks live in buckets that are never freed (DistributedDataParallel)."""
    autocast: bool = False
    """torch.autocast over 32-bit weights: the residual stream stays in 32 bits, every consumer of a norm casts its own input,
    and casts of weights are kept for backward."""
    sixteen_bit_states: bool = False
    """Weights and gradients in 16 bits, 32-bit master weights beside the moments (Rajbhandari et al. 2019, section 3.1)."""
    casts_by_product: bool = False
    """Every product casts its 32-bit weight for itself; else a 16-bit copy of all weights stands through the step."""
    loss_in_unit: bool = False
    """Head and loss are one ZeRO-3 unit: it is gathered, and the last layer prefetched, when a plain loss's backward begins."""
    fused_ffn: bool = False
    """One kernel for the activation function and its product: its own result is not kept."""
    resident: str = "torch"
    """Which libraries a process holds beside the interpreter, and how its allocations sit in malloc: torch | transformers."""
    code: str = "plain"
    """Whose code its layers are: transformers, or plain (its own, of which the other fields say what differs)."""
    wide_gains: bool = False
    """Norms multiply by their gains in 32 bits, and keep what they multiply so."""
    fused_scores: bool = False
    """Written-out attention takes its softmax in one kernel that keeps its 16-bit result only."""
    selective: str = "products"
    """What selective recomputation keeps: products | every second product | attention (everything but the scores)."""
    bucket_elements: int = 0
    """Entries of the flat buffer that gradients are gathered in before they are summed; 0: none of its own."""
    buckets_at_once: int = 1
    """Two when summing overlaps with backward."""
    accumulates_bf16_in_fp32: bool = False
    """bf16 gradients are added up in a 32-bit sum that is never sharded (DeepSpeed's BF16_Optimizer); fp16 ones are not."""
    gradients_in_fp32: bool = False
    """Backward of 16-bit weights adds into 32-bit gradients (Megatron-LM's main_grad)."""
    widens_gradients: bool = False
    """The optimizer step copies its share of the 16-bit gradients into 32 bits."""
    pins_fused_qkv: bool = False
    """One product for q, k, v, of whose result the values stay a view: all of it stays beside rotated queries and keys."""
    copies_attention_output: bool = False
    """The attention kernel's result is copied into the layout the next product reads."""
    held_logit_bytes: int = 0
    """Bytes per logit that a plain loss leaves referenced through backward: the 16-bit logits 2, those widened to 32 bits 4."""
    keeps_quantised_inputs: bool = False
    """Products with a quantised frozen matrix keep their input though nothing reads it (bitsandbytes up to 0.42)."""
    gathers_to_save: bool = False
    """A sharded model is put together on every device to be saved (full state dict)."""
    loss_head: str = "plain"
    """Loss head it runs unless told otherwise."""
    adapter_loss_head: str | None = None
    """... and with adapters, where that differs."""

    def head(self, *, adapted: bool) -> str:
        """The loss head it runs."""
        return self.adapter_loss_head or self.loss_head if adapted else self.loss_head

    def bucket_bytes(self, stage: int) -> tuple[Quantity, ...]:
        """Flat buffers of a fixed size, in 16 bits; there on a single device too."""
        if not self.bucket_elements or stage == 0:
            return ()
        n, e = self.buckets_at_once, self.bucket_elements
        return (derived("communication buckets", n * e * 2, "bytes", "n * e * 2", self.source, n=n, e=e),)

    def states(self, precision: Precision) -> Precision:
        """The recipe with this framework's bytes per state."""
        if not self.sixteen_bit_states or precision.compute_bytes > 2:
            return precision
        states = _PAPER_STATES
        if self.gradients_in_fp32:
            states = replace(states, grad=4)
        if self.accumulates_bf16_in_fp32 and precision.name.startswith("bf16"):
            states = replace(states, main_grad=4)
        return replace(precision, matrix=states, vector=states)


_PAPER_STATES: Final = StateBytes(weight=2, copy=0, grad=2, main_grad=0, moment=4, master=4)

FRAMEWORKS: Final[dict[str, Framework]] = {
    "tuitrain": Framework(
        name="tuitrain",
        code="transformers",
        source="definition: this project's trainer; unsharded figures are live tensors of its own steps",
        buckets=True,
        gathers_once=True,
        row_bucket_bytes=32 << 20,
        casts_by_product=True,
        loss_in_unit=True,
        loss_head="chunked",
    ),
    "fsdp2-hf": Framework(
        name="fsdp2-hf",
        code="transformers",
        source="measured: op-level trace of transformers' Llama under FSDP2 (32-bit shards, bf16 compute, 32-bit reduction)",
        root_stays_gathered=True,
        loss_in_unit=True,
    ),
    "fsdp2-native": Framework(
        name="fsdp2-native",
        source="measured: op-level trace of a hand-written Llama with fused norms under FSDP2, every part a unit of its own",
        fused_norms=True,
        repeats_kv=True,
    ),
    "hf-trainer": Framework(
        name="hf-trainer",
        code="transformers",
        resident="transformers",
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
    "litgpt": Framework(
        name="litgpt",
        source="measured: saved-tensors count of litgpt 0.5.13; Fabric widens the logits it returns to 32 bits",
        repeats_kv=True,
        wide_gains=True,
        autocast=True,
        keeps_quantised_inputs=True,
        pins_fused_qkv=True,
        copies_attention_output=True,
        gathers_to_save=True,
        adapter_loss_head="split",
    ),
    "torchtune": Framework(
        name="torchtune",
        source="measured: saved-tensors count of torchtune 0.6.1",
        repeats_kv=True,
        wide_gains=True,
        loss_head="chunked-logits",
    ),
    "torchtitan": Framework(
        name="torchtitan",
        source="its documentation: per-op selective recomputation saves attention and every second product",
        fused_norms=True,
        repeats_kv=True,
        selective="every second product",
        held_logit_bytes=2,
    ),
    "ms-swift": Framework(
        name="ms-swift",
        code="transformers",
        resident="transformers",
        source="its trainer's source: transformers' Trainer, which keeps logits for the accuracy it logs",
        buckets=True,
        autocast=True,
        held_logit_bytes=6,
    ),
    "deepspeed": Framework(
        name="deepspeed",
        code="transformers",
        source="definition: deepspeed/runtime/zero",
        reshards_in_two=False,
        sixteen_bit_states=True,
        widens_gradients=True,
        bucket_elements=200_000_000,
        buckets_at_once=2,
    ),
    "megatron": Framework(
        name="megatron",
        gradients_in_fp32=True,
        source="korthikanti2022",
        fused_norms=True,
        fused_ffn=True,
        reshards_in_two=False,
        fused_scores=True,
        selective="attention",
        sixteen_bit_states=True,
    ),
    "megatron-deepspeed": Framework(
        name="megatron-deepspeed",
        source="korthikanti2022",
        fused_norms=True,
        fused_ffn=True,
        reshards_in_two=False,
        fused_scores=True,
        selective="attention",
        sixteen_bit_states=True,
        accumulates_bf16_in_fp32=True,
        widens_gradients=True,
        bucket_elements=500_000_000,
    ),
    "internevo": Framework(
        name="internevo",
        source="definition: InternEvo's hybrid ZeRO",
        fused_norms=True,
        reshards_in_two=False,
        sixteen_bit_states=True,
    ),
}


def framework(name: str) -> Framework:
    """The framework of that name."""
    if name not in FRAMEWORKS:
        raise unknown_name("framework", name, FRAMEWORKS)
    return FRAMEWORKS[name]
