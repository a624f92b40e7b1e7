"""What data-parallel ranks send each other in a step, and how long that takes.

    stage   per optimizer step                          per micro-step, between ranks that share states
    0       all-reduce of the gradients                 -
    1       the same, all-gather of the new weights     -
    2       -                                           all-gather of the weights once, reduce-scatter of the gradients
    3       -                                           all-gather twice (once without resharding), reduce-scatter

A ring sends (n - 1) / n of the data per all-gather or reduce-scatter, twice that per all-reduce (Rajbhandari et al. 2019,
section 7). Sums over ranks are in 32 bits, or in 16 where states are. Full recomputation gathers nothing more when the
recomputed unit is the gathered one.

Validity: bandwidth only, no latency, all of it hidden behind computation up to the length of that (the measured utilisation of
real runs, which speeds start from, already holds what is not hidden within a node).
"""

from __future__ import annotations

from tuitrain_planners.hardware import Hardware
from tuitrain_planners.memory.sharding import REDUCE_BYTES, Sharding
from tuitrain_planners.parameters import count_parameters
from tuitrain_planners.precision import Precision
from tuitrain_planners.quantity import Quantity, derived, given, total
from tuitrain_planners.shapes import ModelShape

LINK_EFFICIENCY = 0.75
"""Share of a link's bandwidth that collectives reach."""
NODE_DEVICES = 8
"""Devices that share the fast links of one machine."""
FALLBACK_LINK_BYTES_PER_S = 16e9
FALLBACK_NETWORK_BYTES_PER_S = 3.125e9


def sent_bytes(shape: ModelShape, precision: Precision, sharding: Sharding, *, micro_steps: int) -> Quantity:
    """Bytes one rank sends per optimizer step."""
    n, p = sharding.ranks, count_parameters(shape)
    if n == 1:
        return given("bytes sent per step", 0, "bytes", "definition")
    states = sharding.framework.states(precision)
    wide = states.matrix.grad if sharding.framework.sixteen_bit_states else REDUCE_BYTES

    def part(name: str, times: int, each: int, repeats: int = 1) -> Quantity:
        value = repeats * times * (n - 1) / n * each * p.value
        return derived(
            name, value, "bytes", "m * times * (n - 1) / n * each * N", "zero2019", m=repeats, times=times, n=n, each=each, N=p
        )

    if sharding.stage < 2:
        parts = [part("all-reduce of gradients", 2, wide)]
        if sharding.stage == 1:
            parts.append(part("all-gather of new weights", 1, states.matrix.weight))
        return total("bytes sent per step", parts)
    gathers = 1 if sharding.keeps_gathered else 2
    return total(
        "bytes sent per step",
        (
            part("all-gather of weights", gathers, precision.compute_bytes, micro_steps),
            part("reduce-scatter of gradients", 1, wide, micro_steps),
        ),
    )


def communication_s(sent: Quantity, hardware: Hardware, ranks: int) -> Quantity:
    """Seconds a step's communication takes, hidden or not."""
    if not sent.value:
        return given("communication", 0, "s", "definition")
    within, across = _link(hardware), _network(hardware)
    slowest = across if ranks > NODE_DEVICES else within
    efficiency = given(
        "share of the link that collectives reach", LINK_EFFICIENCY, source="assumption: 0.7 to 0.8 with NCCL on large messages"
    )
    value = sent.value / (slowest.value * efficiency.value)
    return derived("communication", value, "s", "sent / (link * share)", sent=sent, link=slowest, share=efficiency)


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
