"""Energy to carbon: kWh x the carbon intensity of the electricity. What making the device emitted is not in it."""

from __future__ import annotations

from tuitrain_planners.economy import Economy
from tuitrain_planners.energy import each_end
from tuitrain_planners.quantity import Band, Quantity, derived


def kg_co2e(energy: Band | None, economy: Economy) -> Band | None:
    """Emissions of the run; None where its energy is not known."""
    if energy is None:
        return None

    def carbon(name: str, index: int) -> Quantity:
        amount = (energy.low, energy.mid, energy.high)[index]
        value = amount.value * economy.grid.value
        return derived(f"carbon, {name}", value, "kg", "kwh * intensity", "patterson2021", kwh=amount, intensity=economy.grid)

    return each_end(carbon)
