"""Hours to energy: device hours x rated power x the share of it that training draws x what the building adds (PUE).

Only the devices' own power counts; processors, memory and network of their hosts are in the share where it was measured for a
whole node, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

from tuitrain_planners.economy import Economy
from tuitrain_planners.hardware import Hardware
from tuitrain_planners.quantity import Band, Quantity, derived, given

WATT_PER_KILOWATT = 1000


def each_end(build: Callable[[str, int], Quantity]) -> Band:
    """A band from its low, mid and high."""
    return Band(low=build("low", 0), mid=build("mid", 1), high=build("high", 2))


def kwh(hours: Band, hardware: Hardware, economy: Economy) -> Band | None:
    """Energy of the run; None where the device's power is not known."""
    if hardware.power_w is None:
        return None
    power = given(f"rated power of {hardware.name}", hardware.power_w, "W", hardware.source)

    def energy(name: str, index: int) -> Quantity:
        amount = (hours.low, hours.mid, hours.high)[index]
        assumed = given("share of the rated power", economy.power_share[index], source=economy.power_share_source)
        share = hardware.power_share or assumed
        pue = given("PUE", economy.pue[index], source=economy.pue_source)
        value = amount.value * power.value * share.value * pue.value / WATT_PER_KILOWATT
        formula = "hours * power * share * pue / 1000"
        return derived(
            f"energy, {name}", value, "kWh", formula, "patterson2021", hours=amount, power=power, share=share, pue=pue
        )

    return each_end(energy)
