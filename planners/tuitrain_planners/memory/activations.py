"""Activations of a device: all its layers, the ends, what recomputation keeps instead and rebuilds, micro-batches in flight.

Recompute: `full` keeps each layer's input only; `selective` keeps the layer's input and the results of matrix products and
attention, and redoes norms, rotation and activation functions (or what the framework's own selection is).

Pipeline: stage 0 has min(m, p) micro-batches in flight under 1F1B, all m under GPipe, p (1 + (p - 1) / (p v)) interleaved; the
last stage one (Narayanan et al. 2021, section 2.2; Korthikanti et al. 2022, section 4.2.3).

Validity: torch 2.13 without compile, which fuses and keeps less. Known error: equals a saved-tensors count of the decoder to
the byte; 16-bit copies of weights are counted with the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tuitrain_planners.adapters import Adapter
from tuitrain_planners.errors import unknown_name
from tuitrain_planners.flops import RECOMPUTE
from tuitrain_planners.framework import FRAMEWORKS, Framework
from tuitrain_planners.memory.holding import ONE_DEVICE, Stage
from tuitrain_planners.memory.layer import SOURCE, Layer, Work
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, given, total
from tuitrain_planners.shapes import ModelShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Activations:
    """Bytes by moment."""

    saved: Quantity
    """Alive from forward until the layer's backward: all layers and the ends, of every micro-batch in flight."""
    live_layer: Quantity
    """One layer's full set, as it stands when its backward begins."""
    rebuilt: Quantity
    """What recomputation adds to `saved` when a layer's backward begins; 0 without recomputation."""
    backward: Quantity
    """Gradients of activations while one layer's backward runs."""
    waiting: Quantity
    """Of other micro-batches in flight while the first layer's backward runs; 0 without a pipeline."""


def in_flight(mesh: Mesh, stage: Stage, micro_batches: int) -> Quantity:
    """Micro-batches whose activations a stage holds at once."""
    p, v, m = mesh.pp, mesh.vp, micro_batches
    if p == 1:
        return given("micro-batches in flight", 1, source="definition")
    if mesh.schedule == "gpipe":
        return given("micro-batches in flight", m, source="megatron2021")
    if mesh.schedule == "interleaved":
        turn = 0 if stage == "last" else p - 1
        return derived(
            "micro-batches in flight",
            min(m, (p * v - p + 1 + 2 * turn) / v),
            "",
            "min(m, (p * v - p + 1 + 2 * turn) / v)",
            "korthikanti2022",
            m=m,
            p=p,
            v=v,
            turn=turn,
        )
    if stage == "last":
        return given("micro-batches in flight", 1, source="megatron2021")
    return derived("micro-batches in flight", min(m, p), "", "min(m, p)", "megatron2021", m=m, p=p)


@lru_cache(maxsize=32)
def activations(
    shape: ModelShape,
    *,
    seq_len: int,
    micro_batch: int,
    precision: Precision,
    recompute: str = "none",
    framework: Framework = FRAMEWORKS["tuitrain"],
    adapter: Adapter | None = None,
    mesh: Mesh = ONE_DEVICE,
    stage: Stage = "only",
    micro_batches: int = 1,
    work: Work | None = None,
) -> Activations:
    """Activation memory of a device. `shape` has its local sizes; `work` overrides what follows from batch and mesh."""
    if recompute not in RECOMPUTE:
        raise unknown_name("recompute mode", recompute, RECOMPUTE)
    work = work or Work(tokens=seq_len * micro_batch // mesh.cp, seq_len=seq_len, cut=mesh.sequence_cut)
    layer = Layer(shape, work, precision, framework, adapter)
    layers, live, kept = _layers(shape, layer, recompute)
    flight = in_flight(mesh, stage, micro_batches)
    if flight.value != 1:
        layers = derived(
            "layers of all micro-batches in flight",
            int(flight.value * layers.value),
            "bytes",
            "floor(m * layers)",
            m=flight,
            layers=layers,
        )
    rebuilt = derived(
        "one layer recomputed", max(0, live.value - kept.value), "bytes", "max(0, layer - kept)", SOURCE, layer=live, kept=kept
    )
    ends = layer.ends(first=stage != "last", last=stage != "first")
    waiting = derived(
        "activations of waiting micro-batches",
        int(max(0, layers.value * (1 - 1 / flight.value))),
        "bytes",
        "floor(max(0, layers * (1 - 1 / m)))",
        layers=layers,
        m=flight,
    )
    return Activations(
        saved=total("activations", (layers, ends), source=SOURCE),
        live_layer=live,
        rebuilt=rebuilt,
        backward=layer.backward(moe=shape.experts is not None),
        waiting=waiting,
    )


def _layers(shape: ModelShape, layer: Layer, recompute: str) -> tuple[Quantity, Quantity, Quantity]:
    """(all layers of this device, the last layer's full set, what it keeps)."""

    def one(*, moe: bool) -> tuple[Quantity, Quantity]:
        live = layer.all(moe=moe)
        return live, live if recompute == "none" else layer.kept(recompute, moe=moe)

    if shape.experts is None:
        live, kept = one(moe=False)
        return (
            derived("all layers", shape.num_layers * kept.value, "bytes", "L * layer", L=shape.num_layers, layer=kept),
            live,
            kept,
        )
    live, kept = one(moe=True)
    dense = one(moe=False)[1]
    count = shape.experts.first_dense_layers
    value = count * dense.value + shape.num_moe_layers * kept.value
    layers = derived(
        "all layers",
        value,
        "bytes",
        "dense * first + moe * others",
        dense=count,
        first=dense,
        moe=shape.num_moe_layers,
        others=kept,
    )
    return layers, live, kept
