"""LoRA in memory: entries of the adapters, and which inputs of adapted matrices are kept in which form.

A frozen matrix needs its input for nothing; an adapter beside it does, since its own gradient reads it. So the input of every
adapted matrix stays - once for all that read it when adapters compute in its own precision, once for each of them when peft
first casts it (32-bit adapters beside a 16-bit model; 16-bit casts under autocast) or drops some of it out. The adapter's inner
vector of r stays too. A fused product (litgpt's q, k, v) is one reader. (Hu et al. 2021; saved-tensors counts of transformers'
Llama with peft 0.21, of litgpt and of torchtune, which tests/golden/test_layer_bytes.py repeats.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.matrices import Matrix, hidden_matrices
from tuitrain_planners.memory.blocks import Block
from tuitrain_planners.memory.holding import Holding
from tuitrain_planners.parameters import adapter_parameters
from tuitrain_planners.shapes import ModelShape

INPUT_OF: Final = {
    "q": "attention", "k": "attention", "v": "attention", "o": "heads", "gate": "feed-forward", "up": "feed-forward",
    "down": "product",
}  # fmt: skip
"""Which tensor of a layer a target reads: what q, k, v share, what gate and up share, ..."""
QKV: Final = ("q", "k", "v")


def adapter_entries(holding: Holding, adapter: Adapter) -> int:
    """Parameters of the adapters on one device."""
    targets = tuple(each for each in adapter.targets if each != "head" or holding.has_head)
    return int(adapter_parameters(holding.shape, replace(adapter, targets=targets)).value) if targets else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptedInputs:
    """What a layer keeps for its adapters, per token."""

    originals: frozenset[str]
    """Inputs that stay as they are, by their names in INPUT_OF, and compressed queries and keys of latent attention."""
    copied_bytes: int = 0
    """Casts and dropped-out copies with their masks."""
    inner_bytes: int = 0
    """The vectors of r."""
    padded_width: int = 0
    """Results of an adapter that covers some of q, k, v, kept until they are put among zeros (litgpt)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """Bytes that decide whether an input is copied."""

    compute: int
    """Of what products compute in."""
    input: int
    """Of what they read."""
    autocast: bool
    mask: int | None
    """What dropout keeps per entry; None: the mask has the dropped tensor's type (torch on a CPU)."""

    def copy(self, adapter: Adapter) -> int:
        """Bytes per entry of an adapter's own copy of its input; 0: it reads what others read."""
        weight = adapter.weight_bytes
        if self.autocast:
            copy = 0 if weight == self.compute == self.input else self.compute
        else:
            copy = weight if weight != self.compute else 0
        if not adapter.dropout:
            return copy
        # peft casts to the adapter's type before it drops out, whatever autocast makes of it afterwards.
        return (copy or self.compute) + (weight if self.mask is None else self.mask)


def adapted_inputs(shape: ModelShape, adapter: Adapter, block: Block, numbers: Numbers, *, moe: bool = False) -> AdaptedInputs:
    """What one layer keeps for its adapters; `moe`: a layer with experts, each visit of which has a copy of its own."""
    readers = _readers(shape, adapter, block, moe=moe)
    copy, rank_bytes = numbers.copy(adapter), numbers.compute if numbers.autocast else adapter.weight_bytes
    covered = {target: rows for reader in readers for target, rows in reader.rows.items() if target in QKV}
    padded = sum(covered.values()) if block.pads_qkv and len(covered) < len(QKV) else 0
    return AdaptedInputs(
        originals=frozenset(each.reads for each in readers) if not copy else frozenset(),
        copied_bytes=copy * sum(each.width for each in readers),
        inner_bytes=adapter.rank * rank_bytes * sum(each.inner for each in readers),
        padded_width=padded,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    """One product with an adapter."""

    reads: str
    width: int
    """Entries per token it reads, over all visits."""
    inner: int
    """Inner vectors it makes."""
    rows: dict[str, int]
    """What it gives, by target."""


def _readers(shape: ModelShape, adapter: Adapter, block: Block, *, moe: bool) -> list[_Reader]:
    readers: dict[tuple[str, ...], _Reader] = {}
    for number, each in enumerate(hidden_matrices(shape)):
        if each.target not in adapter.targets or _elsewhere(shape, each, moe=moe):
            continue
        attends = each.target in (*QKV, "o")
        layers = shape.num_layers if attends else shape.num_moe_layers if moe else shape.num_layers - shape.num_moe_layers
        visits = each.used // layers
        key = _fused(each, block) or (f"{number}",)
        before = readers.get(key)
        readers[key] = _Reader(
            reads=_reads(shape, each),
            width=before.width if before else visits * each.columns,
            inner=(before.inner if before else 0) + (0 if before and block.shares_adapters else visits),
            rows={**(before.rows if before else {}), each.target: each.rows},
        )
    return list(readers.values())


def _elsewhere(shape: ModelShape, matrix: Matrix, *, moe: bool) -> bool:
    """Whether the matrix is in the other kind of layer."""
    if shape.experts is None or matrix.target in (*QKV, "o"):
        return False
    return moe == (matrix.block == "ffn")


def _fused(matrix: Matrix, block: Block) -> tuple[str, ...]:
    if block.fused_qkv and matrix.target in QKV:
        return QKV
    return ("gate", "up") if block.fused_gate and matrix.target in ("gate", "up") else ()


def _reads(shape: ModelShape, matrix: Matrix) -> str:
    latent = shape.latent
    if latent is not None and matrix.target == "v":
        return "compressed keys"
    if latent is not None and matrix.target == "q" and latent.q_rank is not None and matrix.rows != latent.q_rank:
        return "compressed queries"
    return INPUT_OF[matrix.target]
