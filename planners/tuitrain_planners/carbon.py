"""Energy to carbon: kWh x the intensity of the electricity; apart from it the run's share of what making devices emitted."""

from __future__ import annotations

from tuitrain_planners.economy import Economy
from tuitrain_planners.energy import each_end
from tuitrain_planners.quantity import Band, Quantity, derived, given


def kg_co2e(energy: Band | None, economy: Economy) -> Band | None:
    """Emissions of the run; None where its energy is not known."""
    if energy is None:
        return None

    def carbon(name: str, index: int) -> Quantity:
        amount = (energy.low, energy.mid, energy.high)[index]
        value = amount.value * economy.grid.value
        return derived(f"carbon, {name}", value, "kg", "kwh * intensity", "patterson2021", kwh=amount, intensity=economy.grid)

    return each_end(carbon)


def embodied_kg_co2e(hours: Band, economy: Economy) -> Band | None:
    """The run's share of what making its devices emitted: their hours over the hours of a life; None when it was not asked for.

    Luccioni et al. (2022), section 4.1, reckon so.
    """
    made = economy.embodied_kg_co2e
    if made is None:
        return None
    life = economy.lifetime_h

    def share(name: str, index: int) -> Quantity:
        used = (hours.low, hours.mid, hours.high)[index]
        device = given(f"making one device, {name}", made[index], "kg", economy.embodied_source)
        return derived(
            f"carbon of making the devices, {name}", used.value * device.value / life.value, "kg", "hours * device / life",
            "luccioni2022", hours=used, device=device, life=life,
        )  # fmt: skip

    return each_end(share)
