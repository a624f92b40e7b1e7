"""Seconds of one optimizer step on a device known from its datasheet.

    micro-batch   the slowest stage's layers (and head), with the collectives inside them; at least the host's time to launch
    pipeline      (m + (p - 1) / v) micro-batches for m of them (Narayanan et al. 2021, section 2.2)
    data axis     what computing does not hide, and a share of what it does
    optimizer     bytes of the states / bandwidth, on the states a device keeps
    stragglers    1 + spread x sqrt(2 ln n) over n machines: a step waits for the slowest (about the maximum of n normal times)

When layers do not divide by the stages, embedding and head count as one layer each (Megatron-DeepSpeed's and Megatron-Core's
way out); otherwise the last stage bears the head on top.

Not counted: evaluation, checkpoints, data loading, offloading, paging.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from tuitrain_planners.communication import context_s, data_axis_s, expert_s, pipeline_s, tensor_s
from tuitrain_planners.efficiency import FIT, PUBLISHED, Efficiency
from tuitrain_planners.layer_time import LayerTime
from tuitrain_planners.parameters import adapter_parameters, count_parameters
from tuitrain_planners.quantity import Quantity, derived, given, total
from tuitrain_planners.workload import Workload

OPTIMIZER_BYTES: Final = 32
"""Moved per parameter by an AdamW step: weight, gradient, two moments read, three written, a 16-bit copy, the norm's pass."""
ACCUMULATE_BYTES: Final = 10
"""Moved per parameter by adding a micro-batch's gradient to the sum, and by clearing it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """One step, taken apart."""

    step_s: Quantity
    micro_batch_s: Quantity
    """The slowest stage, one micro-batch."""
    bubble_s: Quantity
    exposed_s: Quantity
    """Data-parallel communication that is not hidden."""
    communication_s: Quantity
    """Data-parallel communication, hidden or not."""
    optimizer_s: Quantity


def step_time(work: Workload, constants: Efficiency = PUBLISHED) -> StepTime:
    """Middle estimate; `throughput` puts the band around it."""
    times = LayerTime(work, constants)
    micro, average = _micro_batch(work, times, constants)
    bubble = _bubble(work, average)
    local = _local_parameters(work)
    mesh, whole = work.mesh, count_parameters(work.shape)
    held = derived(
        "parameters on a device", whole.value / (mesh.tp * mesh.pp), "parameters", "N / (tp * pp)",
        N=whole, tp=mesh.tp, pp=mesh.pp,
    )  # fmt: skip
    send = data_axis_s(
        work.shape, work.precision, work.sharding, work.hardware, micro_steps=work.micro_steps,
        optimizer=work.optimizer, parameters=held, trained=None if work.adapter is None else local, stride=mesh.tp,
        node_devices=work.node_devices, constants=constants,
    )  # fmt: skip
    exposed = _exposed(work, send, micro, constants)
    update = _optimizer(work, times, local)
    compute = derived("micro-batches", work.micro_steps * micro.value, "s", "m * micro", m=work.micro_steps, micro=micro)
    alone = total("step without stragglers", [each for each in (compute, bubble, exposed, update) if each.value])
    return StepTime(
        step_s=_straggling(work, alone, constants),
        micro_batch_s=micro,
        bubble_s=bubble,
        exposed_s=exposed,
        communication_s=send,
        optimizer_s=update,
    )


def last_stage_layers(layers: int, stages: int) -> tuple[int, int]:
    """(layers of the fullest stage, layers of the stage that also has the head)."""
    if layers % stages == 0:
        return layers // stages, layers // stages
    full = math.ceil((layers + 2) / stages)
    return min(full, math.ceil(layers / stages)), max(full - 1, 0)


def _layer(work: Workload, times: LayerTime, constants: Efficiency) -> Quantity:
    """One layer with what it sends; the mean over dense and expert layers where there are both."""
    shape, moe = work.shape, work.shape.num_moe_layers
    tensor, context = tensor_s(work, constants), context_s(work, constants)
    exposed = given("share of overlapped communication that costs time", constants.exposed, "", FIT)
    ring = derived("ring, not hidden", exposed.value * context.value, "s", "share * ring", share=exposed, ring=context)
    if work.tensor_overlap and tensor.value:
        tensor = derived(
            "tensor-parallel collectives, not hidden", exposed.value * tensor.value, "s", "share * send",
            share=exposed, send=tensor,
        )  # fmt: skip
    parts = [each for each in (tensor, ring) if each.value]
    if not moe:
        return total("a layer and what it sends", [times.layer(experts=False), *parts])
    routed, sends = times.layer(experts=True), expert_s(work, constants)
    if work.tensor_overlap and sends.value:
        sends = derived("all-to-all, not hidden", exposed.value * sends.value, "s", "share * send", share=exposed, send=sends)
    layers = total("a layer with experts, and what it sends", [each for each in (routed, sends, *parts) if each.value])
    if moe == shape.num_layers:
        return layers
    dense = total("a dense layer and what it sends", [times.layer(experts=False), *parts])
    value = (moe * layers.value + (shape.num_layers - moe) * dense.value) / shape.num_layers
    return derived(
        "mean layer", value, "s", "(e * routed + (L - e) * dense) / L", e=moe, L=shape.num_layers, routed=layers, dense=dense
    )


def _micro_batch(work: Workload, times: LayerTime, constants: Efficiency) -> tuple[Quantity, Quantity]:
    """(the slowest stage, the mean stage), one micro-batch forward and backward."""
    layer, head, p = _layer(work, times, constants), times.head(), work.mesh.pp
    full, last = last_stage_layers(work.shape.num_layers, p)
    device = max(full * layer.value, last * layer.value + head.value)
    slowest = derived(
        "slowest stage, computing", device, "s", "max(full * layer, last * layer + head)", full=full, last=last, layer=layer,
        head=head,
    )  # fmt: skip
    host = _host(work, constants, full)
    unpack = _unpack(work, times, constants, full)
    accumulate = _accumulate(work, times)
    handing_on = pipeline_s(work, constants)
    busy = derived(
        "device or host, whichever takes longer", max(device, host.value), "s", "max(device, host)", device=slowest, host=host
    )
    micro = total("micro-batch", [each for each in (busy, unpack, accumulate, handing_on) if each.value])
    layers, over = work.shape.num_layers, micro.value - slowest.value
    mean = derived(
        "micro-batch, mean stage", (layers * layer.value + head.value) / p + over, "s",
        "(L * layer + head) / p + micro - slowest", L=layers, layer=layer, head=head, p=p, micro=micro, slowest=slowest,
    )  # fmt: skip
    return micro, mean


def _host(work: Workload, constants: Efficiency, layers: int) -> Quantity:
    each = given(f"host time to launch one pass of a layer, {work.software}", constants.host_s[work.software], "s", FIT)
    more = given("with adapters, times", constants.adapter_host if work.adapter is not None else 1.0, "", FIT)
    passes = 2 + (1 if work.again else 0)
    value = layers * passes * each.value * more.value
    return derived("launching", value, "s", "layers * passes * each * more", layers=layers, passes=passes, each=each, more=more)


def _unpack(work: Workload, times: LayerTime, constants: Efficiency, layers: int) -> Quantity:
    """Frozen weights in a packed form are unpacked before every product."""
    base = "16bit" if work.adapter is None else work.adapter.base
    if base not in constants.dequantise_bytes:
        return given("unpacking frozen weights", 0, "s", "definition")
    moved = given(f"bytes moved to unpack a weight from {base}", constants.dequantise_bytes[base], "bytes", FIT)
    passes, count = 2 + work.again, _layer_parameters(work) / work.shape.num_layers * layers
    value = passes * count * moved.value / times.bandwidth.value
    return derived(
        "unpacking frozen weights", value, "s", "passes * count * moved / bandwidth", passes=passes, count=count, moved=moved,
        bandwidth=times.bandwidth,
    )  # fmt: skip


def _layer_parameters(work: Workload) -> float:
    """Entries of the layers' matrices one tensor-parallel rank holds."""
    shape = work.shape
    outside = shape.vocab_size * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    return (count_parameters(shape).value - outside) / work.mesh.tp


def _local_parameters(work: Workload) -> Quantity:
    """Trained parameters one device works on before the data axis shares them."""
    n, mesh = count_parameters(work.shape), work.mesh
    if work.adapter is not None:
        trained = adapter_parameters(work.shape, work.adapter)
        return derived(
            "trained parameters on a device", trained.value / (mesh.tp * mesh.pp), "parameters", "N / (tp * pp)",
            N=trained, tp=mesh.tp, pp=mesh.pp,
        )  # fmt: skip
    return derived(
        "parameters on a device", n.value / (mesh.tp * mesh.pp), "parameters", "N / (tp * pp)", N=n, tp=mesh.tp, pp=mesh.pp
    )


def _accumulate(work: Workload, times: LayerTime) -> Quantity:
    count = _local_parameters(work)
    value = count.value * ACCUMULATE_BYTES / times.bandwidth.value
    return derived(
        "adding gradients up", value, "s", "count * bytes / bandwidth", count=count, bytes=ACCUMULATE_BYTES,
        bandwidth=times.bandwidth,
    )  # fmt: skip


def _bubble(work: Workload, stage: Quantity) -> Quantity:
    p, v = work.mesh.pp, work.mesh.vp
    if p == 1:
        return given("pipeline bubble", 0, "s", "definition")
    return derived(
        "pipeline bubble", (p - 1) / v * stage.value, "s", "(p - 1) / v * stage", "megatron2021", p=p, v=v, stage=stage
    )


def _exposed(work: Workload, send: Quantity, micro: Quantity, constants: Efficiency) -> Quantity:
    """Sharded weights travel under every micro-batch; gradients of whole weights under the last backward."""
    if not send.value:
        return given("communication, not hidden", 0, "s", "definition")
    share = given("share of overlapped communication that costs time", constants.exposed, "", FIT)
    if not work.overlap:
        return derived("communication, not hidden", send.value, "s", "send", send=send)
    hides = work.micro_steps if work.sharding.stage >= 2 else 2 / 3
    value = max(share.value * send.value, send.value - hides * micro.value)
    return derived(
        "communication, not hidden", value, "s", "max(share * send, send - hides * micro)", share=share, send=send, hides=hides,
        micro=micro,
    )  # fmt: skip


def _optimizer(work: Workload, times: LayerTime, local: Quantity) -> Quantity:
    ranks = work.sharding.ranks if work.sharding.stage >= 1 else 1
    value = local.value / ranks * OPTIMIZER_BYTES / times.bandwidth.value
    return derived(
        "optimizer step", value, "s", "count / ranks * bytes / bandwidth", count=local, ranks=ranks, bytes=OPTIMIZER_BYTES,
        bandwidth=times.bandwidth,
    )  # fmt: skip


def _straggling(work: Workload, alone: Quantity, constants: Efficiency) -> Quantity:
    machines = math.ceil(work.mesh.devices / work.node_devices)
    if machines == 1:
        return derived("step time", alone.value, "s", "alone", alone=alone)
    spread = given("spread of step times between machines", constants.straggling, "", FIT)
    value = alone.value * (1 + spread.value * math.sqrt(2 * math.log(machines)))
    return derived("step time", value, "s", "alone * (1 + spread * sqrt(2 * log(n)))", alone=alone, spread=spread, n=machines)
