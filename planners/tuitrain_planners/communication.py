"""What devices send each other in a step, along each axis of the mesh, and how long that takes.

Data axis: the bytes of `volumes`, within the groups that share states and between them. Tensor axis (Korthikanti et al. 2022,
section 4.2): per layer and micro-batch two all-reduces of s b h forward and two backward, or as many all-gathers and
reduce-scatters of the same bytes. Expert axis: four all-to-alls of the routed tokens. Context axis: keys and values once around
the ring forward, twice backward. Pipeline: the residual stream to the next stage and back.

A group whose neighbours sit in one machine shares the network cards of all of them: its ring leaves a machine once, over as
many cards as it has members.

Validity: bandwidth, and a fixed latency on the tensor axis. How much of it computing hides is `step_time`'s business.
"""

from __future__ import annotations

from tuitrain_planners.efficiency import FIT, PUBLISHED, Efficiency
from tuitrain_planners.hardware import Hardware
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.optimizers import Optimizer
from tuitrain_planners.parameters import count_parameters
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, given, total
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.volumes import sent_between_groups, sent_bytes
from tuitrain_planners.workload import NODE_DEVICES, Workload

FALLBACK_LINK_BYTES_PER_S = 16e9
FALLBACK_NETWORK_BYTES_PER_S = 3.125e9


def data_axis_s(
    shape: ModelShape,
    precision: Precision,
    sharding: Sharding,
    hardware: Hardware,
    *,
    micro_steps: int,
    optimizer: Optimizer | None = None,
    parameters: Quantity | None = None,
    trained: Quantity | None = None,
    stride: int = 1,
    node_devices: int = NODE_DEVICES,
    constants: Efficiency = PUBLISHED,
) -> Quantity:
    """Seconds of one step's communication along the data axis: within the groups that share states, and between them."""
    sent = sent_bytes(
        shape, precision, sharding, micro_steps=micro_steps, optimizer=optimizer, parameters=parameters, trained=trained
    )
    n, r = sharding.ranks, sharding.replicas
    within = communication_s(sent, hardware, n, stride=stride, node_devices=node_devices, constants=constants)
    if r == 1:
        return within
    moving = trained or parameters or count_parameters(shape)
    between = sent_between_groups(moving, precision, sharding, micro_steps=micro_steps)
    across = communication_s(between, hardware, r, stride=stride * n, node_devices=node_devices, constants=constants)
    return total("communication", (within, across))


def communication_s(
    sent: Quantity,
    hardware: Hardware,
    ranks: int,
    *,
    stride: int = 1,
    node_devices: int = NODE_DEVICES,
    constants: Efficiency = PUBLISHED,
) -> Quantity:
    """Seconds the data axis takes, hidden or not. `stride`: devices between neighbours of the group."""
    if not sent.value:
        return given("communication", 0, "s", "definition")
    link = group_link(hardware, ranks, stride=stride, node_devices=node_devices)
    share = link_share(constants)
    value = sent.value / (link.value * share.value)
    return derived("communication", value, "s", "sent / (link * share)", sent=sent, link=link, share=share)


def link_share(constants: Efficiency) -> Quantity:
    """Share of a link's bandwidth that collectives reach."""
    return given(
        "share of the link that collectives reach", constants.link, "", "assumption: 0.7 to 0.8 with NCCL on large messages"
    )


def group_link(hardware: Hardware, ranks: int, *, stride: int = 1, node_devices: int = NODE_DEVICES) -> Quantity:
    """Bandwidth of the slowest link a ring over `ranks` devices crosses, one direction."""
    within = _link(hardware)
    if ranks * stride <= node_devices:
        return within
    network = _network(hardware)
    members = max(1, min(node_devices // stride, ranks))
    value = min(within.value, members * network.value)
    return derived(
        "link of the group", value, "bytes/s", "min(link, members * network)", link=within, members=members, network=network
    )


def tensor_s(work: Workload, constants: Efficiency) -> Quantity:
    """Seconds one layer's tensor-parallel collectives take per micro-batch; they stand in the way of the next product."""
    t, mesh = work.mesh.tp, work.mesh
    if t == 1:
        return given("tensor-parallel collectives", 0, "s", "definition")
    times = 4 + 2 * work.again
    link, share = group_link(work.hardware, t, node_devices=work.node_devices), link_share(constants)
    latency = given("latency of a collective", constants.latency_s, "s", FIT)
    c, h = work.precision.compute_bytes, work.shape.hidden_size
    value = times * (2 * (t - 1) / t * work.tokens * h * c / (link.value * share.value) + latency.value)
    return derived(
        "tensor-parallel collectives", value, "s", "times * (2 * (tp - 1) / tp * m * h * c / (link * share) + latency)",
        "korthikanti2022", times=times, tp=mesh.tp, m=work.tokens, h=h, c=c, link=link, share=share, latency=latency,
    )  # fmt: skip


def expert_s(work: Workload, constants: Efficiency) -> Quantity:
    """Seconds one layer's all-to-alls take per micro-batch."""
    moe, e = work.shape.experts, work.mesh.ep
    if moe is None or e == 1:
        return given("all-to-all of routed tokens", 0, "s", "definition")
    inside, share = e * work.mesh.tp <= work.node_devices, link_share(constants)
    link = _link(work.hardware) if inside else _network(work.hardware)
    c, h = work.precision.compute_bytes, work.shape.hidden_size
    value = 4 * (e - 1) / e * work.tokens / work.mesh.tp * moe.per_token * h * c / (link.value * share.value)
    return derived(
        "all-to-all of routed tokens", value, "s", "4 * (ep - 1) / ep * m / tp * visits * h * c / (link * share)",
        ep=e, m=work.tokens, tp=work.mesh.tp, visits=moe.per_token, h=h, c=c, link=link, share=share,
    )  # fmt: skip


def context_s(work: Workload, constants: Efficiency) -> Quantity:
    """Seconds one layer's keys and values take around the ring per micro-batch."""
    n = work.mesh.cp
    if n == 1:
        return given("ring of keys and values", 0, "s", "definition")
    link, share = group_link(work.hardware, n, stride=work.mesh.tp, node_devices=work.node_devices), link_share(constants)
    c, kv = work.precision.compute_bytes, work.shape.kv_size
    value = 3 * (n - 1) * work.tokens * 2 * kv / work.mesh.tp * c / (link.value * share.value)
    return derived(
        "ring of keys and values", value, "s", "3 * (cp - 1) * m * 2 * k * d / tp * c / (link * share)",
        cp=n, m=work.tokens, k=work.shape.num_kv_heads, d=work.shape.head_dim, tp=work.mesh.tp, c=c, link=link, share=share,
    )  # fmt: skip


def pipeline_s(work: Workload, constants: Efficiency) -> Quantity:
    """Seconds a stage spends per micro-batch handing the residual stream on and its gradient back."""
    mesh = work.mesh
    if mesh.pp == 1:
        return given("stage to stage", 0, "s", "definition")
    inside, share = mesh.pp * mesh.dp * mesh.cp * mesh.tp <= work.node_devices, link_share(constants)
    link = _link(work.hardware) if inside else _network(work.hardware)
    c, h = work.precision.compute_bytes, work.shape.hidden_size
    value = 2 * mesh.vp * work.tokens * h * c / mesh.tp / (link.value * share.value)
    return derived(
        "stage to stage", value, "s", "2 * vp * m * h * c / tp / (link * share)", "megatron2021",
        vp=mesh.vp, m=work.tokens, h=h, c=c, tp=mesh.tp, link=link, share=share,
    )  # fmt: skip


def _link(hardware: Hardware) -> Quantity:
    if hardware.link_bytes_per_s is not None:
        return given(f"link of {hardware.name}, one direction", hardware.link_bytes_per_s, "bytes/s", hardware.source)
    return given("link, one direction", FALLBACK_LINK_BYTES_PER_S, "bytes/s", "assumption: PCIe 3.0 x16; the preset names none")


def _network(hardware: Hardware) -> Quantity:
    if hardware.network_bytes_per_s is not None:
        source = "assumption: the network its vendor's reference machine gives each device"
        return given("network per device, one direction", hardware.network_bytes_per_s, "bytes/s", source)
    source = "assumption: 25 Gb/s; the preset names none"
    return given("network per device, one direction", FALLBACK_NETWORK_BYTES_PER_S, "bytes/s", source)
